"""What a lot leaves in the ledger besides links: problems, conflicts, losses by merging, and what is to be fetched later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from django.db import transaction
from django.db.backends.utils import CursorWrapper
from django.db.models.functions import Now

from syncline import background
from syncline.ledger import conflicts, pull_writer, writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.records import Outcome, Problem
from syncline.runs.models import RunPart
from syncline.runs.queue import QUEUE

from .deciding import title
from .ground import Ground
from .work import Landed, Later, Refused

PAUSE = 10.0
"""Seconds after which a record is fetched again to which a write of ours was on its way."""

MAX_ROUNDS = 6

PUT_OFF = "put_off"


def problems(cursor: CursorWrapper, ground: Ground, refused: Iterable[Refused], waiting: Iterable[Refused]) -> None:
    """Refused records are kept with their reason; what the sync's own settings leave out is no trouble, and just counted."""
    found = [*refused, *waiting]
    kept = [one for one in found if one.state != Link.State.EXCLUDED or one.problem.code == "gone_here"]
    names = ground.flow.inbound.properties
    pull_writer.store_problems(
        cursor,
        ground.flow.sync_id,
        ground.flow.run_id,
        [
            pull_writer.PulledProblem(
                one.record.id,
                one.state,
                one.problem,
                title(one.record, names),
                one.brief,
                one.known.local_key if one.known else "",
            )
            for one in kept
        ],
    )
    left_out = [one.record.id for one in found if one not in kept]
    pull_writer.forget_problems(cursor, ground.flow.sync_id, left_out)
    writer.group(cursor, ground.flow.run_id, [_outcome(one) for one in kept], ErrorGroup.PULLED)


def _outcome(one: Refused) -> Outcome:
    return Outcome(one.record.id, 0, Link.State(one.state), problem=one.problem)


def nameless(ground: Ground, number: int) -> int:
    """Records that came without an id can be stored nowhere; they are told once for each run."""
    if number:
        told = ErrorGroup(
            run_id=ground.flow.run_id,
            cause=blake2b(f"nameless {ground.job.part.pk}".encode(), digest_size=12).hexdigest(),
            state=Link.State.REJECTED,
            code="nameless",
            message="Records came without an id that can be kept, and were left out. Report it to the connector's author.",
            next_step="Report it to the connector's author, with the run's number.",
            count=number,
        )
        ErrorGroup.objects.bulk_create([told], ignore_conflicts=True)
    return number


def lost(cursor: CursorWrapper, ground: Ground, gone: Mapping[int, str]) -> None:
    """Several of our records were linked to what is one record there by now; one of them holds it."""
    for link_id, survivor in gone.items():
        said = (
            f"Its remote record was merged into {survivor}, which another of our records is linked to. Merge or correct our two."
        )
        problem = Problem("merged", said, group="merged")
        pull_writer.vanished(cursor, ground.flow.run_id, [link_id], problem, Link.State.MERGED)


def overlaps(cursor: CursorWrapper, ground: Ground, landed: Sequence[Landed], links: Mapping[str, int]) -> None:
    """Conflicts that these records have, and the end of those that they have no longer."""
    if not ground.flow.two_way:
        return
    found = [conflicts.Overlap(one.local_key, c.property, c.here, c.there) for one in landed for c in one.arrived.clashes]
    conflicts.open_(cursor, ground.flow.run_id, links, found)
    conflicts.close(cursor, links, {one.local_key: one.arrived.agreed for one in landed if one.arrived.agreed})


def later(cursor: CursorWrapper, ground: Ground, those: Sequence[Later]) -> None:
    """Become parts of their own, in the transaction that moves the position past them."""
    part = ground.job.part
    for after in sorted({one.after for one in those}):
        ids = sorted({one.record.id for one in those if one.after == after})
        if part.round >= MAX_ROUNDS:
            _given_up(cursor, ground, ids)
            continue
        RunPart.objects.create(
            run_id=ground.flow.run_id,
            kind=RunPart.Kind.FETCH,
            state=RunPart.State.BLOCKED if ground.flow.whole and not after else RunPart.State.QUEUED,
            keys=ids,
            priority=part.priority,
            round=part.round + 1,
            not_before=Now() + dt.timedelta(seconds=after),
        )
    if those:
        transaction.on_commit(lambda: background.ring(QUEUE))


_PUT_OFF = "A write of ours to it, or one that may have made it, has no answer yet. It is fetched again by the next run."


def _given_up(cursor: CursorWrapper, ground: Ground, ids: Sequence[str]) -> None:
    """The position is past them, so the next pull fetches them by their ids."""
    problem = Problem(PUT_OFF, _PUT_OFF)
    waiting = [pull_writer.PulledProblem(id_, Link.State.PENDING, problem) for id_ in ids]
    pull_writer.store_problems(cursor, ground.flow.sync_id, ground.flow.run_id, waiting)
    told = ErrorGroup(
        run_id=ground.flow.run_id,
        cause=f"{ErrorGroup.PULLED}put off {ground.job.part.pk}",
        state=Link.State.PENDING,
        code=PUT_OFF,
        message=f"Put off {MAX_ROUNDS} times in this run: a write of ours that concerns these records still has no answer.",
        count=len(ids),
        samples=list(ids[:20]),
    )
    ErrorGroup.objects.bulk_create([told], ignore_conflicts=True)
