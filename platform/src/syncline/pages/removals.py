"""Removals that wait for a person: the list on a run's page, and the button that lets them pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from syncline.contract import ConfigError
from syncline.ledger.models import ErrorGroup
from syncline.ledger.reading import last_sent, links_of, may_read, titles
from syncline.runs import removals
from syncline.runs.mirror import WITHHELD
from syncline.runs.models import PlanRow, Run
from syncline.syncs.models import Sync

from .base import Answered, Context, person
from .display import badge

ROWS_PER_PAGE: Final = 25
NAMED: Final = 10
VERBS: Final[Mapping[str, str]] = {
    Sync.DeletePolicy.CLEAR: "cleared of what this sync delivered",
    Sync.DeletePolicy.ARCHIVE: "archived",
    Sync.DeletePolicy.DELETE: "deleted for good",
}


def approve_removals(page: Any, request: HttpRequest, run: Run) -> str:
    if not removals.may_approve(person(request), run):
        raise ConfigError(removals.REFUSED)
    number = removals.withheld(run)
    if number and not request.POST.get("confirmed"):
        raise Answered(TemplateResponse(request, "syncline/confirm.html", _confirmation(page, request, run, number)))
    started = removals.approve(run, person(request))
    return f"Run {started.pk} is queued: it removes what run {run.pk} withheld, as far as it has not come back."


def newest_removal(run: Run) -> str:
    """Where to look after approving."""
    started = Run.objects.filter(plan=run, kind=Run.Kind.REMOVAL).order_by("-pk").first()
    return reverse("admin:syncline_run_change", args=[(started or run).pk])


def _question(run: Run, number: int) -> tuple[str, str]:
    """A title and what it means: there what left here, here what is gone there."""
    sync = run.sync
    account = sync.connection.account_name or sync.connection.name
    here = _rows(run).filter(action=PlanRow.Action.DELETE, state=PlanRow.State.PLANNED).count()
    there = number - here
    left = (
        f"They left the sync {sync.name} here. Their records in {account}, object {sync.object_type}, are"
        f" {VERBS.get(sync.delete_policy, 'left as they are')}. What belongs to the sync again by then stays."
    )
    gone = (
        f"They are gone from {account}, object {sync.object_type}. Each is asked for once more; our records of those that are"
        " still gone are deleted here, the others stay."
    )
    if not here:
        return f"Remove {number:,} records in {account}?", left
    if not there:
        return f"Delete {number:,} of our records?", gone
    return f"Remove {there:,} records in {account}, and delete {here:,} of ours?", f"There: {left} Here: {gone}"


def _confirmation(page: Any, request: HttpRequest, run: Run, number: int) -> Context:
    waiting = _rows(run).filter(state=PlanRow.State.PLANNED)
    title, sentence = _question(run, number)
    named = [
        f"{row.title or 'record ' + row.local_key} ↔ {row.remote_id}" for row in _titled(request, run, list(waiting[:NAMED]))
    ]
    context: Context = page.page(
        request,
        title=title,
        sentence=sentence,
        items=[*named, f"and {number - NAMED:,} more"] if number > NAMED else named,
        label=f"Remove {number:,} record{'' if number == 1 else 's'}",
        action=reverse("admin:syncline_run_do", args=[run.pk, "approve-removals"]),
        back=reverse("admin:syncline_run_change", args=[run.pk]),
        original=run,
    )
    return context


def withheld_context(request: HttpRequest, run: Run) -> Context:
    """What the run withheld, page by page; empty for a run that withheld nothing, or that is a plan."""
    rows = _rows(run)
    if run.kind == Run.Kind.PLAN or not rows.exists():
        return {}
    shown = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("withheld"))
    shown.object_list = _titled(request, run, list(shown.object_list))
    return {
        "withheld": shown,
        "withheld_why": ErrorGroup.objects.filter(run_id=run.pk, code=WITHHELD).values_list("message", flat=True),
        "withheld_open": removals.withheld(run),
        "withheld_then": _then(run, rows),
        "may_approve": removals.may_approve(person(request), run),
    }


def _then(run: Run, rows: Any) -> str:
    """What happens once somebody approves."""
    actions = set(rows.order_by().values_list("action", flat=True).distinct())
    there = f"their remote records are {VERBS.get(run.sync.delete_policy, 'left as they are')}"
    here = "our records of those that are still gone there are deleted"
    said = [sentence for action, sentence in ((PlanRow.Action.REMOVE, there), (PlanRow.Action.DELETE, here)) if action in actions]
    return " and ".join(said)


def _rows(run: Run) -> Any:
    return PlanRow.objects.filter(run=run, action__in=removals.LISTED).order_by("id")


def _titled(request: HttpRequest, run: Run, rows: list[Any]) -> list[Any]:
    """Each with its record's name, where the person may see it, its link and its state: three queries for a page."""
    keys = [row.local_key for row in rows]
    readable = may_read(person(request), run.sync.dataset)
    names = titles(run.sync.dataset, keys) if readable else {}
    links = links_of(run.sync, keys)
    sent = last_sent([link for key, link in links.items() if key not in names]) if readable else {}
    for row in rows:
        row.link_id = links.get(row.local_key)
        row.title = names.get(row.local_key) or sent.get(row.link_id, "")
        row.badge = badge(*_SHOWN[row.state])
        row.what = "there" if row.action == PlanRow.Action.REMOVE else "here"
    return rows


_SHOWN: Final = {
    PlanRow.State.PLANNED: ("paused", "waits"),
    PlanRow.State.APPLIED: ("succeeded", "removed"),
    PlanRow.State.STALE: ("cancelled", "stays"),
    PlanRow.State.FAILED: ("failed", "not removed"),
}
