"""Connections: who signs in where, whether it works, what the account offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Count, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.catalog import overview
from syncline.catalog import service as catalog
from syncline.connections import service
from syncline.connections.models import Connection, Grant
from syncline.contract import AuthMethod

from . import budget
from .base import ActionsAdmin, ModelForm, ObjectAction, StockInline, is_staff, person, rights
from .display import badge, shortened
from .registrations import asked_connector, choose_connector
from .settings_form import ConnectionForm, usable_connectors


class GrantForm(ModelForm):
    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if bool(data.get("user")) == bool(data.get("group")) and not self.errors:
            raise forms.ValidationError("Choose either a user or a group.")
        return data


class GrantFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """Reads users and groups once, not once for every row, and gives each input a name of its own."""

    @cached_property
    def people(self) -> dict[str, list[tuple[Any, str]]]:
        users, groups = User.objects.filter(is_active=True).order_by("username"), Group.objects.order_by("name")
        empty = ("", "—")
        return {
            "user": [empty, *((one.pk, one.username) for one in users)],
            "group": [empty, *((one.pk, one.name) for one in groups)],
        }

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for name, choices in self.people.items():
            form.fields[name].widget.choices = choices
        name_inputs(form, "Grant", index)


def name_inputs(form: forms.BaseForm, what: str, index: int | None) -> None:
    """Inputs in table cells have no label of their own; this one is read out."""
    number = "new" if index is None else str(index + 1)
    for name, field in form.fields.items():
        field.widget.attrs["aria-label"] = f"{what} {number}: {field.label or name}"


class GrantInline(StockInline):
    """Only for the owner and superusers: the form is theirs."""

    model = Grant
    form = GrantForm
    formset = GrantFormSet
    fields = ["user", "group", "may_run"]
    extra = 1
    verbose_name_plural = "grants: who else sees this connection, and who may run its syncs"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        return super().get_queryset(request).select_related("user", "group")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the stock wrapper: who shares a connection need not be able to add users."""
        return db_field.formfield() if db_field.is_relation else super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and rights(request, obj).change

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or self.has_add_permission(request, obj)  # None: asked for the rows of the connection being shown

    has_view_permission = has_delete_permission = has_change_permission


def check(page: Any, request: HttpRequest, connection: Connection) -> str:
    account = service.check(connection)
    return f"The connection works: {account.name} ({account.id})."


def refresh(page: Any, request: HttpRequest, connection: Connection) -> str:
    diff = catalog.refresh(connection)
    if not diff:
        return "The catalog is as it was."
    counts = [(len(diff.added), "new"), (len(diff.changed), "changed"), (len(diff.removed), "gone")]
    return "The catalog was refreshed: " + ", ".join(f"{n} object{'s' if n > 1 else ''} {what}" for n, what in counts if n) + "."


def disconnect(page: Any, request: HttpRequest, connection: Connection) -> str:
    service.disconnect(connection)
    return "Disconnected: the credentials are forgotten. Syncs over this connection wait until it is connected again."


@admin.register(Connection)
class ConnectionPage(ActionsAdmin):
    connection_lookup = "pk"
    form = ConnectionForm
    list_display = ["name", "connector", "account", "owner", "health", "syncs_here", "checked_at"]
    list_filter = ["state", "connector"]
    list_select_related = ["owner"]
    search_fields = ["name", "account_name", "account_id"]
    search_help_text = "Name or account"
    ordering = ["name"]
    inlines = [GrantInline]
    change_form_template = "admin/syncline/connection/change_form.html"
    object_actions = {
        "check": ObjectAction(check, "run"),
        "refresh": ObjectAction(refresh, "run"),
        "disconnect": ObjectAction(disconnect),
    }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.call_allowance)
        return [path("<path:object_id>/budget/", view, name="syncline_connection_budget"), *super().get_urls()]

    def call_allowance(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return budget.page(self, request, object_id)

    def connection_of(self, obj: Any) -> Connection:
        return cast(Connection, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).select_related("owner", "registration").defer("registration__client_secret")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        slim: QuerySet[Any] = rows.defer("credentials", "registration__client_secret").annotate(sync_count=Count("syncs"))
        return slim

    # Rights: the owner and superusers change; adding needs Django's permission, because an account is lent to the host.
    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("syncline.add_connection")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request) and (obj is None or rights(request, obj).change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and rights(request, obj).change

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Who may delete the connection may delete its catalog with it; syncs and links protect it."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name", "owner", "registration"] if person(request).is_superuser else ["name", "registration"]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return list(self.inlines) if obj is not None and rights(request, obj).change else []

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Plain selects: the stock wrapper's pop-ups to add and change make no sense here."""
        return db_field.formfield() if db_field.is_relation else super().formfield_for_dbfield(db_field, request, **kwargs)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if self.has_add_permission(request) and asked_connector(request, None) not in {c.key for c in usable_connectors()}:
            return choose_connector(self, request, "connection")
        return super().add_view(request, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        bound = type("BoundForm", (ConnectionForm,), {"connector_key": asked_connector(request, obj)})
        return super().get_form(request, obj, change=change, **{**kwargs, "form": bound})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.store(person(request))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # for its message
        return HttpResponseRedirect(self.address(obj))  # the next step, Connect, stands on its page

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        obj = kwargs.get("obj")
        form = context["adminform"].form
        context.update(sections_of(form), connector_title=form.connector.title if form.connector else form.connector_key)
        if obj is not None:
            context.update(
                title=obj.name,
                subtitle=None,
                show_save_and_add_another=False,
                rights=rights(request, obj),
                state_badge=badge(obj.state, obj.get_state_display()),
                offered=overview.offered(obj),
                oauth=any(one.kind == "oauth2" for one in form.methods),
                connects=connect_buttons(obj, form.methods),
                connected=bool(obj.credentials) or keyless(obj, form.methods),
                shown_settings=shown_settings(form),
            )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="account", ordering="account_name")
    def account(self, obj: Connection) -> str:
        return obj.account_name or "–"

    @admin.display(description="state", ordering="state")
    def health(self, obj: Connection) -> SafeString:
        shown = badge(obj.state, obj.get_state_display())
        return format_html("{} <span class='reason'>{}</span>", shown, shortened(obj.state_reason, 160))

    @admin.display(description="syncs", ordering="sync_count")
    def syncs_here(self, obj: Any) -> SafeString:
        address = f"{reverse('admin:syncline_sync_changelist')}?connection={obj.pk}"
        return format_html('<a href="{}">{}</a>', address, obj.sync_count)


def keyless(connection: Connection, methods: Sequence[AuthMethod]) -> bool:
    """It is connected without credentials, as its system wants none."""
    return any(one.kind == "none" and one.key == connection.auth_method for one in methods)


def sections_of(form: ConnectionForm) -> dict[str, Any]:
    titles = {method.key: method.title for method in form.methods}
    return {
        "settings_form": form.settings_form,
        "credential_forms": [(titles[key], one) for key, one in form.credential_forms.items()],
        "sign_in": form["sign_in"],
        "unchecked": form["unchecked"],
        "failed": form.is_bound and bool(form.errors),
    }


def connect_buttons(connection: Connection, methods: Sequence[AuthMethod]) -> list[dict[str, str]]:
    """One for each way to connect by a press; what must be typed first is below, until it was."""
    used = connection.auth_method
    ways = [one for one in methods if one.kind == "oauth2" and (one.key == used or not one.schema.get("properties"))]
    works = bool(connection.credentials) and connection.state != Connection.State.RECONNECT
    return [_connect_button(connection, one, again=works and one.key == used, alone=len(ways) == 1, quiet=works) for one in ways]


def _connect_button(connection: Connection, method: AuthMethod, *, again: bool, alone: bool, quiet: bool) -> dict[str, str]:
    verb = "Connect again" if again else "Connect"
    address = f"{reverse('oauth:start', args=[connection.pk])}?{urlencode({'method': method.key})}"
    return {"label": verb if alone else f"{verb}: {method.title}", "action": address, "kind": "quiet" if quiet else "default"}


def shown_settings(form: ConnectionForm) -> list[tuple[str, Any]]:
    """For those who may look only; settings hold no secrets."""
    one = form.settings_form
    return [(str(field.label), one.initial.get(name, "")) for name, field in one.fields.items()]
