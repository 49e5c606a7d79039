"""A plan's page: what would be written, record by record, and the button that writes exactly that."""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from syncline.contract import ConfigError
from syncline.ledger.reading import links_of, may_read, titles
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan import overview
from syncline.runs.plan.start import refusal, start_apply, start_plan
from syncline.syncs.models import Sync

from .base import Answered, Context, person, rights
from .display import badge

ROWS_PER_PAGE: Final = 25
DONE: Final = {"applied": "done", "stale": "problems", "failed": "failed"}
STATES: Final = tuple(state for state in PlanRow.State if state != PlanRow.State.PLANNED)


def plan(page: Any, request: HttpRequest, sync: Sync) -> str:
    started = start_plan(sync, user=person(request))
    return f"Plan {started.pk} is queued. It reads what is in the account and writes nothing."


def apply(page: Any, request: HttpRequest, run: Run) -> str:
    if reason := refusal(run, run.sync):
        raise ConfigError(reason)
    if not request.POST.get("confirmed"):
        raise Answered(TemplateResponse(request, "syncline/confirm.html", _confirmation(page, request, run)))
    started = start_apply(run, user=person(request))
    return f"Run {started.pk} is queued: it applies plan {run.pk}."


def _confirmation(page: Any, request: HttpRequest, run: Run) -> Context:
    counts = overview.left(run)
    number = sum(counts.values())
    account = run.sync.connection.account_name or run.sync.connection.name
    context: Context = page.page(
        request,
        title=f"Apply plan {run.pk}?",
        sentence=f"The planned values, and nothing else, are written to {account}, object {run.sync.object_type}. "
        "A record that changed there since the plan was made is left as it is and marked stale.",
        items=[f"{PlanRow.Action(a).label}: {counts[a]:,} ({overview.MEANINGS[a]})" for a in overview.MEANINGS if a in counts],
        label=f"Write {number:,} record{'' if number == 1 else 's'}",
        action=reverse("admin:syncline_run_do", args=[run.pk, "apply"]),
        back=address(run),
        original=run,
    )
    return context


def address(run: Run) -> str:
    return reverse("admin:syncline_run_plan", args=[run.pk])


def newest_application(run: Run) -> str:
    """The page of the run that applies this plan; the plan's own while there is none."""
    newest = run.applications.order_by("-id").first()
    if newest is None and run.kind == Run.Kind.PLAN:
        return address(run)
    return reverse("admin:syncline_run_change", args=[(newest or run).pk])


def plan_context(request: HttpRequest, run: Run) -> Context:
    """Http404 for a run that is no plan."""
    if run.kind != Run.Kind.PLAN:
        raise Http404("This run is no plan.")
    action, state = request.GET.get("action", ""), request.GET.get("state", "")
    context: Context = {
        "run": run,
        "original": run,
        "badge": badge(run.state, run.get_state_display()),
        "active": run.state in Run.ACTIVE,
        "totals": overview.totals(run),
        "quiet": overview.quiet(run) if run.state not in Run.ACTIVE else 0,
        "states": _states(run),
        "action": action,
        "state": state,
        "refusal": refusal(run, run.sync),
        "left": sum(overview.left(run).values()),
        "applications": list(run.applications.order_by("-id").select_related("requested_by")[:10]),
        "rights": rights(request, run.sync.connection),
        "secrecy": "",
    }
    if not may_read(person(request), run.sync.dataset):
        return {**context, "secrecy": f"The rows show records of {run.sync.dataset}, which you may not read.", "rows": []}
    pages = Paginator(overview.rows(run, action=action, state=state), ROWS_PER_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    return {**context, "pages": shown, "rows": _shown(run, list(shown))}


def _states(run: Run) -> list[tuple[str, str, int]]:
    """What became of rows that are not just planned any more."""
    counted = {state: PlanRow.objects.filter(run=run, state=state).count() for state in STATES}
    return [(state.value, state.label, number) for state, number in counted.items() if number]


def _shown(run: Run, rows: list[PlanRow]) -> list[dict[str, Any]]:
    keys = [row.local_key for row in rows]
    names, links = titles(run.sync.dataset, keys), links_of(run.sync, keys)
    return [
        {
            "row": row,
            "title": names.get(row.local_key) or f"record {row.local_key}",
            "address": reverse("admin:syncline_link_change", args=[links[row.local_key]]) if row.local_key in links else "",
            "badge": badge(_tone(row), row.get_action_display()),
            "state": badge(DONE.get(row.state, ""), row.get_state_display()) if row.state != PlanRow.State.PLANNED else "",
            "lines": overview.lines(row),
        }
        for row in rows
    ]


def _tone(row: PlanRow) -> str:
    return {"create": "created", "update": "running", "adopt": "new", "remove": "failed", "blocked": "disabled"}.get(
        row.action, row.action
    )
