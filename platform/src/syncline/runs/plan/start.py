"""Asking for a plan, and for its application."""

from __future__ import annotations

from typing import Final

from django.contrib.auth.models import User
from django.db import connection, transaction

from syncline.contract import ConfigError
from syncline.registry import connector
from syncline.runs.models import PlanRow, Run, RunPart
from syncline.runs.start import check, created, start_run
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

from .rereading import WRITABLE, applicable, outstanding

ROWS_PER_PART: Final = 2000
MATCHED: Final = (PlanRow.Action.CREATE, PlanRow.Action.ADOPT)


def start_plan(sync: Sync, *, trigger: str = "manual", user: User | None = None) -> Run:
    """Queues a plan. ConfigError says what has to be done first."""
    if sync.direction != Direction.PUSH:
        raise ConfigError("A plan says what a push would do, and this sync pulls as well. Look at its preview instead.")
    found = connector(sync.connection.connector)
    if "fetch" not in found.implements:
        raise ConfigError(f"{found.title} cannot tell the values of given records, so there is nothing to compare with: no plan.")
    return start_run(sync, kind=Run.Kind.PLAN, trigger=trigger, user=user)


def start_apply(plan: Run, *, trigger: str = "manual", user: User | None = None) -> Run:
    """Queues the application of what is left of a plan, approved by `user`. ConfigError says why it cannot be applied."""
    with transaction.atomic():
        # Held until the run is there, so that no other mapping is published in between.
        locked = Sync.objects.select_for_update(of=("self",)).select_related("connection__owner", "current").get(pk=plan.sync_id)
        check(locked, user)
        if reason := refusal(plan, locked):
            raise ConfigError(reason)
        rows = applicable(plan.pk)
        found = {"plan": plan, "approved_by": user, "expected": outstanding(plan.pk).count()}
        with created(locked, kind=Run.Kind.APPLY, trigger=trigger, requested_by=user, **found) as run:
            _add_parts(run, plan, look_first=rows.filter(action__in=MATCHED).exists())
    return run


def refusal(plan: Run, sync: Sync) -> str:
    """Why this plan cannot be applied (any more); "" when it can."""
    if plan.kind != Run.Kind.PLAN:
        return f"Run {plan.pk} is no plan. Only plans can be applied."
    if plan.state in Run.ACTIVE:
        return f"Plan {plan.pk} is not ready yet. Wait for it to end."
    if plan.state not in (Run.State.SUCCEEDED, Run.State.PROBLEMS):
        return f"Plan {plan.pk} did not come to its end ({plan.get_state_display()}). Plan again."
    if sync.current is None or sync.current.pk != plan.version_id:
        return f"Another mapping was published since plan {plan.pk} was made. Plan again."
    if not outstanding(plan.pk).exists():
        return f"Plan {plan.pk} has nothing left to be written. Plan again to see what changed since."
    return ""


_CUTS = """
SELECT max(id) FROM (
    SELECT id, (row_number() OVER (ORDER BY id) - 1) / %s AS piece FROM syncline_planrow
    WHERE run_id = %s AND state = 'planned' AND action = ANY(%s)) AS numbered
GROUP BY piece ORDER BY 1
"""


def _add_parts(run: Run, plan: Run, *, look_first: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_CUTS, [ROWS_PER_PART, plan.pk, list(WRITABLE)])
        cuts = [str(row[0]) for row in cursor.fetchall()]
    state = RunPart.State.BLOCKED if look_first else RunPart.State.QUEUED
    priority = RunPart.Priority.BACKFILL
    if look_first:
        RunPart.objects.create(run=run, kind=RunPart.Kind.PREPARE, priority=priority)
    if not cuts:  # else it is added when all others are done
        RunPart.objects.create(run=run, kind=RunPart.Kind.LEAVING, priority=priority)
    RunPart.objects.bulk_create(
        RunPart(run=run, kind=RunPart.Kind.PLANNED, state=state, after_key=after, until_key=until, priority=priority)
        for after, until in zip(["", *cuts], cuts, strict=False)
    )
