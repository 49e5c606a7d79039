"""When removals have their turn in a run, and how a person lets withheld ones pass."""

from __future__ import annotations

from typing import Final

from django.contrib.auth.models import User
from django.db.models import QuerySet

from syncline.connections import access
from syncline.contract import ConfigError
from syncline.syncs.engine.content import Direction, Mode
from syncline.syncs.models import Sync

from .models import PlanRow, Run, RunPart

KINDS: Final = (Run.Kind.FULL, Run.Kind.RETRY, Run.Kind.CHANGES, Run.Kind.KEYS, Run.Kind.PLAN, Run.Kind.APPLY)
PERMISSION: Final = "syncline.approve_removal"
REFUSED: Final = (
    "You may not let removals pass. Ask somebody with the permission “Can approve removals that were withheld”"
    " who may run this connection's syncs."
)


def queue_last(run: Run) -> bool:
    """Adds the part that removes what left, once every other part is done; False when there is nothing (more) to look at.

    For the transaction that would close the run, which holds its row.
    """
    if not _mirrors(run):
        return False
    if any(run.parts.exclude(state=RunPart.State.DONE).values_list("pk", flat=True)[:1]):
        return False
    newest = run.parts.order_by("-pk").first()
    if newest is None or newest.kind == RunPart.Kind.LEAVING:
        return False
    RunPart.objects.create(run=run, kind=RunPart.Kind.LEAVING, priority=max(newest.priority, RunPart.Priority.BACKFILL))
    return True


def _mirrors(run: Run) -> bool:
    mirrored = run.version.content["mode"] == Mode.MIRROR and run.sync.delete_policy != Sync.DeletePolicy.IGNORE
    return mirrored and run.kind in KINDS and run.sync.direction != Direction.PULL


LISTED: Final = (PlanRow.Action.REMOVE, PlanRow.Action.DELETE)
"""What waits for a person: there, what left the sync here; here, what was deleted there."""


def withheld(run: Run) -> int:
    """How many removals of this run, there and here, still wait for a person."""
    return _waiting(run).count()


def _waiting(run: Run) -> QuerySet[PlanRow]:
    return PlanRow.objects.filter(run=run, action__in=LISTED, state=PlanRow.State.PLANNED)


def may_approve(user: User, run: Run) -> bool:
    return user.has_perm(PERMISSION) and access.may_run(user, run.sync.connection)


def approve(run: Run, user: User) -> Run:
    """Starts a run that removes exactly what this one withheld: there what is still not part of the sync, here what is still
    not in the account."""
    from .pull import approving
    from .start import check, created

    if not may_approve(user, run):
        raise ConfigError(REFUSED)
    if run.kind == Run.Kind.PLAN or not withheld(run):
        raise ConfigError(f"Run {run.pk} withholds no removals (any more). Look at the latest run of the sync.")
    check(run.sync, user)
    with created(run.sync, kind=Run.Kind.REMOVAL, trigger="manual", requested_by=user, plan=run, approved_by=user) as started:
        if _waiting(run).filter(action=PlanRow.Action.REMOVE).exists():
            RunPart.objects.create(run=started, kind=RunPart.Kind.LEAVING, priority=RunPart.Priority.INTERACTIVE)
        approving.add_parts(started, run)
    return started
