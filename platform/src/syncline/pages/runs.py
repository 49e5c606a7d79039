"""Runs: list, live page, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections.models import Connection
from syncline.contract import ConfigError
from syncline.ledger.models import ErrorGroup
from syncline.ledger.pulled import Arrival
from syncline.ledger.reading import links_of, may_read, titles
from syncline.runs import overview, progress
from syncline.runs.close import SUSPENDED
from syncline.runs.models import Run, RunPart
from syncline.runs.start import cancel, pause, resume

from . import directions, plans, run_words, streams
from .base import ActionsAdmin, ObjectAction, person, rights
from .display import badge, duration, link
from .filters import ConnectionOfRun, SyncFilter
from .removals import approve_removals, newest_removal, withheld_context

STOP_POLLING: Final = 286  # htmx: swap, and ask no more
PARTS_SHOWN: Final = 50
GROUPS_SHOWN: Final = 50


def stop(page: Any, request: HttpRequest, run: Run) -> str:
    if run.state not in Run.ACTIVE:
        raise ConfigError("This run has ended already; there is nothing to cancel.")
    cancel(run)
    return "The run is being cancelled: workers stop at their next batch, and what was recorded stays."


def hold(page: Any, request: HttpRequest, run: Run) -> str:
    if not pause(run):
        raise ConfigError("This run is not under way; there is nothing to pause.")
    return "The run is paused: workers give their parts back at the next batch. Resume it to go on."


def go_on(page: Any, request: HttpRequest, run: Run) -> str:
    if not resume(run):
        raise ConfigError("This run is not paused.")
    return "The run goes on where it stood."


@admin.register(Run)
class RunPage(ActionsAdmin):
    connection_lookup = "sync__connection"
    list_display = ["number", "what", "why_run", "status", "counts", "when"]
    list_display_links = ["number"]
    list_filter = ["state", ConnectionOfRun, SyncFilter]
    list_select_related = ["sync__connection"]
    ordering = ["-id"]
    object_actions = {
        "cancel": ObjectAction(stop, "run"),
        "pause": ObjectAction(hold, "run"),
        "resume": ObjectAction(go_on, "run"),
        "approve-removals": ObjectAction(approve_removals, "run", newest_removal),
        "apply": ObjectAction(plans.apply, "run", plans.newest_application),
    }

    def connection_of(self, obj: Any) -> Connection:
        return cast(Run, obj).sync.connection

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        related = super().get_queryset(request).select_related("sync__connection__owner", "version", "requested_by")
        return related.defer("version__content", "sync__connection__credentials")

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        return progress.with_counts(rows)

    def get_urls(self) -> list[URLPattern]:
        live = self.admin_site.admin_view(self.progress)
        plan = self.admin_site.admin_view(self.plan)
        return [
            path("<path:object_id>/progress/", live, name="syncline_run_progress"),
            path("<path:object_id>/plan/", plan, name="syncline_run_plan"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.found(request, object_id)
        more = {**run_context(request, run), **withheld_context(request, run)}
        context = self.page(request, title=f"Run {run.pk} of {run.sync.name}", **more)
        return TemplateResponse(request, "admin/syncline/run/page.html", context)

    def plan(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.found(request, object_id)
        context = self.page(request, title=f"Plan {run.pk} of {run.sync.name}", **plans.plan_context(request, run))
        return TemplateResponse(request, "admin/syncline/run/plan.html", context)

    def progress(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The live part of the page. After the end the whole page is loaded once more: buttons and removals are others then."""
        run = self.found(request, object_id)
        ended = run.state not in Run.ACTIVE
        status, headers = (STOP_POLLING, {"HX-Refresh": "true"}) if ended else (200, None)
        return TemplateResponse(request, "syncline/run_live.html", run_context(request, run), status=status, headers=headers)

    @admin.display(description="run", ordering="id")
    def number(self, obj: Run) -> str:
        return f"{obj.pk}"

    @admin.display(description="sync, connection")
    def what(self, obj: Run) -> SafeString:
        return format_html('{}<span class="below">{}</span>', obj.sync.name, obj.sync.connection.name)

    @admin.display(description="counts", empty_value="–")
    def counts(self, obj: Run) -> str:
        return run_words.told(obj)

    @admin.display(description="kind, by")
    def why_run(self, obj: Run) -> SafeString:
        return format_html('{}<span class="below">{}</span>', directions.kind(obj), obj.trigger)

    @admin.display(description="state", ordering="state")
    def status(self, obj: Run) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    @admin.display(description="queued (UTC)", ordering="created_at")
    def when(self, obj: Run) -> SafeString:
        took = duration(obj.started_at, obj.finished_at)
        return format_html('{}<span class="below">{}</span>', f"{obj.created_at:%-d %b %Y %H:%M}", took)


def run_context(request: HttpRequest, run: Run) -> dict[str, Any]:
    progress.with_counts([run])
    active = run.state in Run.ACTIVE
    expected = (run.expected or overview.expected_records(run)) if active else None
    return {
        "run": run,
        "original": run,
        "active": active,
        "badge": badge(run.state, run.get_state_display()),
        "took": duration(run.started_at, run.finished_at),
        "expected": expected,
        "percent": min(100, run.read * 100 // expected) if expected else None,
        "kind": directions.kind(run),
        "read_what": run_words.read(run),
        "results": run_words.results(run),
        "troubles": run_words.troubles(run),
        "groups": error_groups(request, run),
        "parts": parts_of(run),
        "rights": rights(request, run.sync.connection),
        **streams.of_run(run),
    }


def parts_of(run: Run) -> list[RunPart]:
    """Without continuous ones that are shown by themselves."""
    shown = run.parts.exclude(kind__in=RunPart.CONTINUOUS) if run.state in Run.ACTIVE else run.parts
    return list(shown.defer("keys").order_by("-priority", "id")[:PARTS_SHOWN])


def error_groups(request: HttpRequest, run: Run) -> list[dict[str, Any]]:
    """With sample records by name, each leading to its page in the ledger or the review list: a few queries for all of them."""
    groups = list(ErrorGroup.objects.filter(run_id=run.pk).order_by("-count", "id")[:GROUPS_SHOWN])
    readable = may_read(person(request), run.sync.dataset)
    ours = _samples([group for group in groups if not group.is_pulled()])
    known = links_of(run.sync, ours) if ours else {}
    names = titles(run.sync.dataset, ours) if readable else {}
    arrived = _arrived(run, _samples([group for group in groups if group.is_pulled()]))

    def sample(group: ErrorGroup, key: str) -> Any:
        if group.is_pulled():
            pk, title = arrived.get(key, (None, ""))
            label = (title if readable else "") or f"{run.sync.object_type} {key}"
            return link(reverse("admin:syncline_arrival_change", args=[pk]), label) if pk else label
        label = names.get(key) or f"record {key}"
        return link(reverse("admin:syncline_link_change", args=[known[key]]), label) if key in known else label

    return [
        {"group": one, "badge": group_badge(one), "samples": [sample(one, str(key)) for key in one.samples]} for one in groups
    ]


def _samples(groups: Sequence[ErrorGroup]) -> list[str]:
    return sorted({str(key) for group in groups for key in group.samples})


def _arrived(run: Run, ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Records that still wait in the review list, by remote id."""
    found = Arrival.objects.filter(sync=run.sync_id, remote_id__in=ids) if ids else Arrival.objects.none()
    return {remote_id: (pk, title) for remote_id, pk, title in found.values_list("remote_id", "pk", "title")}


def group_badge(group: ErrorGroup) -> SafeString:
    """Records of which a field was left out are delivered all the same."""
    if group.code != SUSPENDED:
        return badge(group.state, group.get_state_display())
    return badge("problems", "without this field" if group.count else "field suspended")
