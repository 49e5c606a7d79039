"""Closes a run whose parts have all ended, and says honestly how it went."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from syncline import background
from syncline.contract import SynclineError
from syncline.ledger.models import Candidate, ErrorGroup, Link
from syncline.registry import dataset
from syncline.syncs.engine import Direction

from . import removals
from .models import Run, RunPart
from .outcome import next_step
from .plan.verdict import left_over, planned
from .pull import undone as pull_undone
from .pull import verdict as pull_verdict
from .queue import QUEUE, mark_followers
from .stream import verdict as stream_verdict
from .undone import give_back

SUSPENDED = "suspended"
"""Code of the error groups that name rules which are not carried out."""

PUT_OFF = "put_off"
"""Code of the error groups of records whose turn never came."""

_QUIET_GROUPS = """
INSERT INTO syncline_errorgroup (run_id, cause, state, code, property, message, next_step, count, samples)
SELECT %s, md5('quiet' || state || code), state, CASE WHEN {open} THEN 'open' ELSE code END, '',
       CASE WHEN {open} THEN 'It was sent without a usable answer, or its turn did not come.' ELSE min(reason) END, '', count(*),
       to_jsonb((array_agg(local_key ORDER BY id))[1:20])
FROM syncline_link
WHERE connection_id = %s AND object_type = %s AND dataset = %s
  AND (state IN ('rejected', 'ambiguous', 'gone', 'merged') AND last_run_id IS DISTINCT FROM %s OR {open})
  AND local_key IN (SELECT s.c0::text FROM ({query}) AS s (c0))
GROUP BY state, code
ON CONFLICT (run_id, cause) DO NOTHING
"""


def close_run(run_id: int) -> Run | None:
    """Gives the run when this call closed it."""
    with transaction.atomic():
        run = (
            Run.objects.select_for_update(of=("self",))
            .select_related("sync__connection__owner", "version")
            .filter(pk=run_id, state__in=Run.ACTIVE)
            .first()
        )
        if run is None or _still_going(run) or _last_part_queued(run):
            return None
        run.parts.filter(state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED)
        totals = run.parts.aggregate(**{name: Sum(name) for name in Run.NAMES})
        for name in Run.NAMES:
            setattr(run, name, totals[name] or 0)
        run.conflicts = pull_verdict.conflicts(run) if run.conflicts else 0
        troubled = _troubled(run)
        if troubled:
            _explain_quiet(run)
        if _pulls(run):
            pull_verdict.explain_quiet(run)
        run.state, run.reason = _verdict(run, troubled)
        run.finished_at = timezone.now()
        run.save()
        give_back(run.pk)
        pull_undone.keep(run)
        pull_verdict.tidy(run)
        mark_followers(run)
        Candidate.objects.filter(run_id=run.pk).delete()
    for group in ErrorGroup.objects.filter(run_id=run.pk, next_step=""):
        ErrorGroup.objects.filter(pk=group.pk).update(next_step=next_step(group.code, pulled=group.is_pulled()))
    return run


def _still_going(run: Run) -> bool:
    """Parts that wait for another one do not count: nothing is left that could release them."""
    return run.parts.filter(state__in=(RunPart.State.QUEUED, RunPart.State.LEASED)).exists()


def _last_part_queued(run: Run) -> bool:
    """What left the sync is known only after everything was read: that part comes last, and only when all others are done."""
    if not removals.queue_last(run):
        return False
    background.ring(QUEUE)
    return True


def _explain_quiet(run: Run) -> None:
    """Problems this run had no reason to look at again, of records that are still part of the sync."""
    if (rows := _rows(run)) is None:
        return
    query, params = rows.query.sql_with_params()
    sync = run.sync
    scope: list[Any] = [run.pk, sync.connection_id, sync.object_type, sync.dataset, run.pk]
    with connection.cursor() as cursor:
        cursor.execute(_QUIET_GROUPS.format(query=query, open=_IS_OPEN), [*scope, *params])


def _troubled(run: Run) -> set[str]:
    """In which of these states any link is: asking which of them are part of the sync means going through its dataset.

    A plan and its application answer for their own rows only; a pull for what arrived.
    """
    if run.kind in (Run.Kind.PLAN, Run.Kind.APPLY) or run.sync.direction == Direction.PULL:
        return set()
    sync = run.sync
    links = Link.objects.filter(connection_id=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset)
    return set(links.filter(state__in=TROUBLE).order_by().values_list("state", flat=True).distinct())


TROUBLE = (
    Link.State.REJECTED,
    Link.State.AMBIGUOUS,
    Link.State.GONE,
    Link.State.MERGED,
    Link.State.UNCERTAIN,
    Link.State.PENDING,
)
FEW = 2000
"""Records in trouble that are looked up one by one; for more, going through the whole dataset is quicker."""

_IS_OPEN = "state IN ('uncertain', 'pending')"


def _rows(run: Run) -> Any:
    """Keys of the records in trouble that are part of the sync; None when dataset or segment are gone (so the run failed).

    When there are more than a few of them, keys of all records of the sync.
    """
    sync = run.sync
    links = Link.objects.filter(connection_id=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset)
    keys = list(links.filter(state__in=TROUBLE).order_by().values_list("local_key", flat=True)[: FEW + 1])
    try:
        source = dataset(sync.dataset)
        rows = source.rows((), run.version.content["segment"], sync.connection.owner)
        chosen = rows.filter(**{f"{source.key_field}__in": keys}) if len(keys) <= FEW else rows
        return chosen.values_list(source.key_field)
    except SynclineError:
        return None


def _verdict(run: Run, troubled: Collection[str]) -> tuple[str, str]:
    dead = run.parts.filter(state=RunPart.State.DEAD).order_by("id").first()
    if dead:
        return Run.State.FAILED, _given_up(run, dead)
    if run.parts.filter(state=RunPart.State.CANCELLED).exists():
        return Run.State.CANCELLED, "Cancelled by a person."
    if run.kind == Run.Kind.PLAN:
        return _planned(run)
    uncertain, pending = (_open(run, s) if s in troubled else 0 for s in (Link.State.UNCERTAIN, Link.State.PENDING))
    troubles = [
        *_left_open(run),
        (uncertain, "with unknown outcome"),
        (pending, "not delivered yet"),
        (_put_off(run), "put off until the next run"),
        (run.withheld, "removals withheld until a person approves them"),
        *left_over(run),
    ]
    said = [*(f"{number} {what}" for number, what in troubles if number), *_suspended(run), *_remarks(run)]
    return (Run.State.PROBLEMS, ", ".join(said) + ".") if said else (Run.State.SUCCEEDED, "")


def _left_open(run: Run) -> list[tuple[int, str]]:
    """In what way records are not as they should be."""
    pulled = pull_verdict.troubles(run) if _pulls(run) else []
    if run.kind == Run.Kind.STREAM:
        pulled = [*pulled, *stream_verdict.troubles(run)]
    if run.sync.direction == Direction.PULL:
        return pulled
    return [
        (max(run.rejected, _refusals(run)), "rejected"),
        (run.ambiguous, "for review"),
        (run.gone, "deleted or merged remotely"),
        (run.waiting, "waiting for another record"),
        *pulled,
    ]


def _pulls(run: Run) -> bool:
    return run.sync.direction != Direction.PUSH and run.kind not in (Run.Kind.PLAN, Run.Kind.APPLY)


def _remarks(run: Run) -> list[str]:
    return pull_verdict.remarks(run) if _pulls(run) else []


def _planned(run: Run) -> tuple[str, str]:
    """What would need a person is what a plan is for; only what it could not find out is a problem of its own."""
    put_off = _put_off(run)
    missing = [*([f"{put_off} could not be planned: they changed meanwhile"] if put_off else []), *_suspended(run)]
    sentence = f"{planned(run)} {', '.join(missing)}." if missing else planned(run)
    return Run.State.PROBLEMS if missing else Run.State.SUCCEEDED, sentence


def _given_up(run: Run, first: RunPart) -> str:
    """Other parts may well have been carried out."""
    done = run.parts.filter(state=RunPart.State.DONE).exclude(kind=RunPart.Kind.PREPARE).count()
    if not done:
        return first.last_error
    parts = run.parts.filter(state=RunPart.State.DEAD)
    number = parts.count()
    return f"{number} of {number + done} parts were given up, the others carried out. {first.last_error}"


def _suspended(run: Run) -> list[str]:
    """Fields that were not written, in all records or in some, because the account changed."""
    groups = ErrorGroup.objects.filter(run_id=run.pk, code=SUSPENDED)
    fields = sorted(groups.order_by().values_list("property", flat=True).distinct())
    return [f"{len(fields)} field{'s' if len(fields) > 1 else ''} suspended: {', '.join(fields)}"] if fields else []


def _put_off(run: Run) -> int:
    found = ErrorGroup.objects.filter(run_id=run.pk, code=PUT_OFF)
    return found.aggregate(total=Sum("count"))["total"] or 0


def _refusals(run: Run) -> int:
    """Also of associations, whose record was counted when it was written."""
    found = ErrorGroup.objects.filter(run_id=run.pk, state=Link.State.REJECTED).exclude(code=SUSPENDED)
    return found.aggregate(total=Sum("count"))["total"] or 0


def _open(run: Run, state: Link.State) -> int:
    """Links in this state whose records are still part of the sync."""
    if (rows := _rows(run)) is None:
        return 0
    query, params = rows.query.sql_with_params()
    sync = run.sync
    with connection.cursor() as cursor:
        cursor.execute(_OPEN.format(query=query), [sync.connection_id, sync.object_type, sync.dataset, state.value, *params])
        return int(cursor.fetchone()[0])


_OPEN = """
SELECT count(*) FROM syncline_link
WHERE connection_id = %s AND object_type = %s AND dataset = %s AND state = %s
  AND local_key IN (SELECT s.c0::text FROM ({query}) AS s (c0))
"""
