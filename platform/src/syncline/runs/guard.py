"""The mass-delete guard: when removals wait for a person's word, and whether a sync may remove at all."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import connection

from syncline.contract import ConfigError, ObjectType
from syncline.ledger.models import Link
from syncline.registry import dataset
from syncline.syncs.engine.content import digest_of
from syncline.syncs.models import Sync
from syncline.syncs.promises import not_offered, shared

from .job import Job
from .models import Run

FULL: Final = (Run.Kind.FULL, Run.Kind.RETRY)
"""Kinds of runs that look at every record."""

AWAITING: Final = "?"
"""Before the basis of a full pass whose removals were withheld: it is not the one that holds."""

_REMOVED = """
SELECT coalesce(sum(p.removed), 0) FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id
WHERE r.sync_id = %s AND r.kind NOT IN ('removal', 'plan') AND coalesce(r.finished_at, now()) > now() - make_interval(hours => %s)
"""

NEVER: Final = "no full pass has been completed since this sync mirrors, so that nothing says what left it and when."
EMPTY: Final = "the dataset offers no record at all, which is more often a fault than a wish."
OTHER_BASIS: Final = (
    "what says who belongs to the sync changed since the last full pass (its filter, segment, mode or delete policy, or the"
    " connection's owner and what the owner may see)."
)


def most_removals() -> int:
    return int(settings.SYNCLINE_REMOVALS_COUNT)


def largest_share() -> float:
    return float(settings.SYNCLINE_REMOVALS_SHARE)


def period_hours() -> int:
    return int(settings.SYNCLINE_REMOVALS_HOURS)


def objection(job: Job, number: int) -> str:
    """Why so many removals have to wait for a person; "" when they may be carried out."""
    if not number:
        return ""
    if not job.source.queryset().exists():
        return EMPTY
    holds = _last_basis(job.run)
    if not holds:
        return NEVER
    if holds != basis(job.run):
        return OTHER_BASIS
    return too_many(job, number)


def basis(run: Run) -> str:
    """Digest of what says who belongs to the sync, apart from the records themselves."""
    sync, content = run.sync, run.version.content
    owner = sync.connection.owner
    permission = dataset(sync.dataset).info.permission
    return digest_of(
        [
            content["segment"],
            content["filter"],
            content["mode"],
            sync.delete_policy,
            owner.pk,
            owner.is_superuser,
            not permission or owner.has_perm(permission),
        ]
    )


def settles(run: Run) -> bool:
    """Whether a run that carried out its removals says what the basis is from now on.

    One that a person approved does when nothing about it changed since the full pass that made the list.
    """
    if run.kind == Run.Kind.REMOVAL:
        return run.plan is not None and run.plan.basis == AWAITING + basis(run)
    return run.kind in FULL


def _last_basis(run: Run) -> str:
    before = Run.objects.filter(sync=run.sync_id).exclude(basis="").exclude(basis__startswith=AWAITING)
    found = before.order_by("-pk").values_list("basis", flat=True).first()
    return found or ""


def too_many(job: Job, number: int) -> str:
    """Why so many more removals would be too many within the period; "" when they are not."""
    hours = period_hours()
    with connection.cursor() as cursor:
        cursor.execute(_REMOVED, [job.sync.pk, hours])
        before = int(cursor.fetchone()[0])
    total = before + number
    if total <= most_removals():
        return ""
    scope = job.scope
    linked = Link.objects.filter(
        connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, remote_id__isnull=False
    ).exclude(state__in=(Link.State.GONE, Link.State.MERGED))
    everything = linked.count() + before
    if total <= largest_share() * everything:
        return ""
    already = f", {before} of them removed already" if before else ""
    return (
        f"with them {total} of {everything} linked records would go within {hours} hours{already}; more than {most_removals()}"
        f" records and {largest_share():.0%} need a person's word."
    )


def check_may_remove(sync: Sync, object_type: ObjectType) -> None:
    """ConfigError when this sync's removals cannot be carried out, or would take away what is another sync's."""
    if problem := not_offered(sync.delete_policy, object_type) or shared(sync):
        raise ConfigError(problem)
