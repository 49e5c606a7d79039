"""What the pages share: who may see and do what, actions on one object, typed base classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from syncline.connections import access
from syncline.connections.models import Connection
from syncline.contract import SynclineError

if TYPE_CHECKING:
    StockAdmin = admin.ModelAdmin[Any]
    StockInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
else:  # the classes take no parameters when they run
    StockAdmin, StockInline, ModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm

Context = dict[str, Any]


def person(request: HttpRequest) -> User:
    return cast(User, request.user)


@dataclass(frozen=True, slots=True)
class Rights:
    run: bool
    change: bool


def rights(request: HttpRequest, connection: Connection) -> Rights:
    """Asked many times for one page, looked up once."""
    known: dict[int, Rights] = request.__dict__.setdefault("_syncline_rights", {})
    if connection.pk not in known:
        user = person(request)
        change = access.may_change(user, connection)
        known[connection.pk] = Rights(change or access.may_run(user, connection), change)
    return known[connection.pk]


class EnrichedList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = cast(Any, self.model_admin).enrich(request, list(self.result_list))


def is_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff


class ConnectionAdmin(StockAdmin):
    """Objects that belong to a connection: seen by who sees it, changed by nobody unless a subclass says so.

    Ownership and grants decide, not Django's model permissions: a grant would be worth nothing without a superuser's help.
    """

    #: Lookup from the model to its connection; "pk" for the connection itself.
    connection_lookup = "connection"
    list_title = ""
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # one count per choice is too much for a ledger
    list_per_page = 50

    def connection_of(self, obj: Any) -> Connection:
        return cast(Connection, obj.connection)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if not person(request).is_superuser:
            rows = rows.filter(**{f"{self.connection_lookup}__in": access.visible_connections(person(request))})
        return self.for_list(rows) if self._is_list(request) else rows

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """What only the list needs: annotations in, wide columns out."""
        return rows

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        """Adds to the rows of one page what takes one query for all of them."""
        return rows

    def _is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and match.url_name == f"{self.opts.app_label}_{self.opts.model_name}_changelist"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EnrichedList

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request)  # every object is looked up through get_queryset

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> Any:
        return {}  # no bulk deletes: each object is protected by its own rules

    def changelist_view(self, request: HttpRequest, extra_context: Context | None = None) -> HttpResponse:
        context = {"title": self.list_title or str(self.opts.verbose_name_plural).capitalize(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def page(self, request: HttpRequest, **context: Any) -> Context:
        """The context of a page of our own inside the admin."""
        return {**self.admin_site.each_context(request), "opts": self.opts, **context}

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """The object, if this person may see it; otherwise there is none."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return obj


class Answered(Exception):
    """An action has a page of its own to show (for instance: are you sure?)."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__("answered by a page")
        self.response = response


@dataclass(frozen=True, slots=True)
class ObjectAction:
    """`run(admin, request, object)` gives the sentence that is shown and kept in the object's history.

    `needs`: "run" or "change", the right over the connection. `then`: where to go, from the object; its page by default.
    """

    run: Callable[[Any, HttpRequest, Any], str]
    needs: str = "change"
    then: Callable[[Any], str] | None = None


class ActionsAdmin(ConnectionAdmin):
    """Buttons of an object's page: POST `<object>/do/<name>/`."""

    object_actions: Mapping[str, ObjectAction] = {}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.do)
        name = f"{self.opts.app_label}_{self.opts.model_name}_do"
        return [path("<path:object_id>/do/<slug:name>/", view, name=name), *super().get_urls()]

    def do(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj, action = self.found(request, object_id), self.object_actions.get(name)
        if action is None:
            raise Http404(f"There is no action {name}.")
        if not getattr(rights(request, self.connection_of(obj)), action.needs):
            raise PermissionDenied
        try:
            carry_out(self, request, obj, action)
        except Answered as answered:
            return answered.response
        return HttpResponseRedirect(action.then(obj) if action.then else self.address(obj))

    def address(self, obj: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])


def carry_out(page: StockAdmin, request: HttpRequest, obj: Any, action: ObjectAction) -> bool:
    """Runs the action, says what happened and keeps it in the history; False when it was refused."""
    try:
        sentence = action.run(page, request, obj)
    except SynclineError as error:
        messages.error(request, str(error))
        return False
    messages.success(request, sentence)
    page.log_change(request, obj, sentence)
    return True
