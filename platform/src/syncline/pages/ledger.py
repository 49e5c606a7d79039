"""The ledger, read-only: where each record went, what was sent, what was answered, what needs a person."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.contract import ConfigError
from syncline.ledger import resolve
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.pulled import Conflict
from syncline.ledger.reading import add_titles, entries
from syncline.runs import overview
from syncline.runs.models import Run, RunPart
from syncline.runs.outcome import next_step
from syncline.runs.pull.start import PULLING, pull_records
from syncline.runs.start import push_keys
from syncline.syncs.models import Sync

from . import conflicts
from .base import ActionsAdmin, ConnectionAdmin, ObjectAction, person, rights
from .display import badge, shortened
from .filters import AttentionFilter, ConnectionFilter, PairFilter

ENTRIES_PER_PAGE = 25
HEADINGS = {"review": "Ledger: records for review", "rejected": "Ledger: rejected records"}


def link_by_hand(page: Any, request: HttpRequest, found: Link) -> str:
    remote_id = request.POST.get("remote_id", "").strip()
    resolve.link_by_hand(found, remote_id, str(request.user))
    return f"Linked to {remote_id}. The next run writes the mapped values to it."


def unlink(page: Any, request: HttpRequest, found: Link) -> str:
    resolve.unlink(found, str(request.user))
    return "Unlinked. The next run looks for its remote record anew."


def look_again(page: Any, request: HttpRequest, found: Link) -> str:
    resolve.look_again([found], str(request.user))
    return "The next run looks at this record again, whether or not anything changed."


def push_now(page: Any, request: HttpRequest, found: Link) -> str:
    """By the first enabled sync that delivers it: those of one dataset to one object share the link."""
    sync = _carriers(found).exclude(direction=Sync.Direction.PULL).first()
    if sync is None:
        raise ConfigError(f"No enabled sync delivers {found.dataset} to {found.object_type}. Enable one, or publish its mapping.")
    run = push_keys(sync, [found.local_key], user=person(request))
    return f"It is being pushed now, before everything else, by run {run.pk} of {sync.name}."


def pull_now(page: Any, request: HttpRequest, found: Link) -> str:
    sync = _carriers(found).filter(direction__in=PULLING).first()
    if sync is None or not found.remote_id:
        raise ConfigError(f"No enabled sync pulls {found.object_type} into {found.dataset}, or no remote record is known.")
    run = pull_records(sync, [found.remote_id], priority=RunPart.Priority.INTERACTIVE, user=person(request))
    return f"It is being fetched now, before everything else, by run {run.pk} of {sync.name}."


def _carriers(found: Link) -> QuerySet[Sync]:
    """Enabled syncs that carry this record, in one direction or both."""
    syncs = found.connection.syncs.filter(dataset=found.dataset, object_type=found.object_type, enabled=True)
    return syncs.exclude(current=None).select_related("connection__owner", "current").order_by("pk")


@admin.register(Link)
class LedgerPage(ActionsAdmin):
    list_display = ["record", "status", "there", "delivered_at"]
    list_select_related = ["connection"]
    list_filter = [AttentionFilter, "state", ConnectionFilter, PairFilter]
    search_fields = ["local_key__exact", "remote_id__exact"]
    search_help_text = "Local key or remote id, exactly"
    ordering = ["-id"]
    object_actions = {
        "link": ObjectAction(link_by_hand),
        "unlink": ObjectAction(unlink),
        "look-again": ObjectAction(look_again, "run"),
        "push": ObjectAction(push_now, "run"),
        "pull": ObjectAction(pull_now, "run"),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Link]:
        return super().get_queryset(request).select_related("connection__owner").defer("connection__credentials")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.defer("connection__credentials", "delivered", "associations")

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        add_titles(person(request), rows)
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = HEADINGS.get(request.GET.get("attention", ""), "Ledger: where every record went")
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = self.found(request, object_id)
        add_titles(person(request), [found])
        context = self.page(request, title=found.title or f"{found.dataset} {found.local_key}", **link_context(request, found))
        return TemplateResponse(request, "admin/syncline/link/page.html", context)

    @admin.display(description="record here", ordering="local_key")
    def record(self, obj: Any) -> SafeString:
        return format_html('{}<span class="below">{} {}</span>', obj.title or "(no name)", obj.dataset, obj.local_key)

    @admin.display(description="record there")
    def there(self, obj: Any) -> SafeString:
        name = obj.connection.name
        return format_html('{}<span class="below">{} in {}</span>', obj.remote_id or "–", obj.object_type, name)

    @admin.display(description="state, reason", ordering="state")
    def status(self, obj: Link) -> SafeString:
        shown = badge(obj.state, obj.get_state_display())
        return format_html('{}<span class="below">{}</span>', shown, shortened(obj.reason, 160))


def link_context(request: HttpRequest, found: Any) -> dict[str, Any]:
    pages = Paginator(entries(found), ENTRIES_PER_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    run_ids = {one.run_id for one in shown} | {found.last_run_id}
    runs = Run.objects.filter(pk__in=run_ids - {None}).select_related("version").defer("version__content")
    return {
        "link": found,
        "original": found,
        "badge": badge(found.state, found.get_state_display()),
        "next_step": next_step(found.code) if found.reason else "",
        "entries": [{"entry": one, "badge": badge(one.status)} for one in shown],
        "entry_pages": shown,
        "runs": {one.pk: one for one in runs},
        "rights": rights(request, found.connection),
        "record_address": record_address(request, found),
        "conflicts": conflicts.named(request, _open_conflicts(found)),
        **_ways(found),
    }


def _open_conflicts(found: Link) -> list[Conflict]:
    related = Conflict.objects.select_related("sync__connection__owner", "link").defer("sync__connection__credentials")
    return list(related.filter(link=found, decided_at=None).order_by("property"))


def _ways(found: Link) -> dict[str, bool]:
    """In which directions the record can be carried at once."""
    known = set(_carriers(found).values_list("direction", flat=True))
    return {
        "can_push": known != {Sync.Direction.PULL.value},
        "can_pull": bool(found.remote_id) and not known.isdisjoint(PULLING),
    }


def record_address(request: HttpRequest, found: Link) -> str:
    """The local record's own admin page, where its key is that of the model and the person may open it."""
    from django.apps import apps

    from syncline.registry import datasets

    dataset = datasets().get(found.dataset)
    if dataset is None or not dataset.info.model:
        return ""
    model = apps.get_model(dataset.info.model)
    page: Any = admin.site._registry.get(model)
    if page is None or not page.has_view_permission(request):
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[found.local_key])


@admin.register(ErrorGroup)
class ErrorGroupPage(ConnectionAdmin):
    """Causes over all runs, newest first; each leads to its run, where its sample records are."""

    list_title = "Error groups: why records did not arrive, by run"
    list_display = ["cause_text", "number", "status", "run"]
    list_display_links = None
    list_filter = ["state"]
    search_fields = ["message", "property"]
    ordering = ["-run_id", "-count"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super(ConnectionAdmin, self).get_queryset(request)
        user = person(request)
        return rows if user.is_superuser else rows.filter(run_id__in=overview.visible_runs(user).values("pk"))

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        runs = overview.visible_runs(person(request)).in_bulk({one.run_id for one in rows})
        for one in rows:
            one.of = runs.get(one.run_id)
        return rows

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        group = self.found(request, object_id)
        return HttpResponseRedirect(reverse("admin:syncline_run_change", args=[group.run_id]) + f"#group-{group.pk}")

    @admin.display(description="cause, next step", ordering="message")
    def cause_text(self, obj: ErrorGroup) -> SafeString:
        address = reverse("admin:syncline_errorgroup_change", args=[obj.pk])
        return format_html(
            '<a href="{}">{}</a><span class="below">{}</span>', address, shortened(obj.message, 200), obj.next_step
        )

    @admin.display(description="records", ordering="count")
    def number(self, obj: ErrorGroup) -> int:
        return obj.count

    @admin.display(description="state, property", ordering="state")
    def status(self, obj: ErrorGroup) -> SafeString:
        return format_html('{}<span class="below">{}</span>', badge(obj.state, obj.get_state_display()), obj.property)

    @admin.display(description="run", ordering="run_id")
    def run(self, obj: Any) -> SafeString:
        return format_html('{}<span class="below">{}</span>', obj.run_id, obj.of.sync.name if obj.of else "")
