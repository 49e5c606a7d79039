"""The parts of a push: find out who is who, then send a range of keys or a list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from django.db import connection, transaction
from django.db.models.functions import Now

from syncline import background
from syncline.ledger import writer
from syncline.ledger.models import Link
from syncline.runs import claims, crash
from syncline.runs.job import Job
from syncline.runs.models import Run, RunPart
from syncline.runs.queue import QUEUE, add_keys

from . import bulk, reader
from . import prepare as preparation
from .definitions import note_suspended
from .pipeline import QUIET, Pipeline
from .reader import Chunk
from .sweep import Swept, linked, sweep

#: Kinds of runs that look at everything, and therefore begin with a part that finds out who is who.
SWEEPING = (Run.Kind.FULL, Run.Kind.RETRY, Run.Kind.PLAN)

FIRST_CHUNK = 500
"""Records that are read before the first are sent."""


def prepare(job: Job) -> None:
    note_suspended(job.run.pk, job.mapping)
    swept, unlinked = sweep(job.source), 0
    if swept is None and not linked(job.source) and job.sync.bulk_from is None:
        unlinked = preparation.prepare_first(job.identifying(), job.alive)
    elif swept is None or swept.unlinked:
        unlinked = preparation.prepare(job.identifying(), job.alive, partial(bulk.looks_up, job))
    crash.point("prepare.done")
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=job.run.pk)  # first, as whoever cancels: both take several parts
        if bulk.enough(job, unlinked):
            bulk.begin(job)
        else:
            _release(job, swept)
        if not claims.finish(job.claim.fence):
            raise writer.FenceLost
    background.ring(QUEUE)


def _release(job: Job, swept: Swept | None) -> None:
    """Lets others begin: with the whole range or, after a sweep, with just the records that need work."""
    waiting = RunPart.objects.filter(run=job.run, kind=RunPart.Kind.RANGE, state=RunPart.State.BLOCKED)
    if swept is None:
        waiting.update(state=RunPart.State.QUEUED)
        return
    waiting.update(state=RunPart.State.DONE)
    add_keys(job.run, swept.busy, job.part.priority)
    Run.objects.filter(pk=job.run.pk).update(expected=swept.read + len(swept.busy))
    counts = Counter({"read": swept.read})
    for state, number in swept.quiet.items():
        if state in QUIET:
            counts[QUIET[state]] += number
    with connection.cursor() as cursor:
        writer.advance(cursor, job.claim.fence, counts)


def push_range(job: Job) -> None:
    _push(job, ranged(job))


def push_keys(job: Job) -> None:
    _push(job, listed(job))


def ranged(job: Job) -> Iterator[Chunk]:
    """Takes so many records and leaves the rest to whoever comes next, so that all workers share a run."""
    part, size = job.part, claims.part_rows(job.part)
    after, until = part.cursor or part.after_key, part.until_key
    if at := reader.key_at(job.source, size, after=after, until=until):
        if not claims.split_range(job.claim.fence, at, until):
            raise writer.FenceLost
        until = at
        background.ring(QUEUE)
    return reader.chunks(job.source, after=after, until=until, size=min(size, reader.CHUNK), first=FIRST_CHUNK)


def listed(job: Job) -> Iterator[Chunk]:
    """The records of a list, as many as one part takes, with their match values as they are now."""
    part, size = job.part, claims.part_rows(job.part)
    left = part.keys[int(part.cursor or 0) :]
    if len(left) > size:
        if not claims.split_keys(job.claim.fence, left[:size], left[size:]):
            raise writer.FenceLost
        part.keys, part.cursor = left[:size], ""
        background.ring(QUEUE)
    if not _looked_up(job) and _any_unlinked(job):
        preparation.look_up(job.identifying(), job.part.keys, job.alive)
    size = FIRST_CHUNK if part.priority == RunPart.Priority.CHANGE else reader.CHUNK  # small steps, to make way for others
    return reader.chosen(job.source, part.keys, size, skip=int(part.cursor or 0))


def _push(job: Job, chunks: Iterable[Chunk]) -> None:
    note_suspended(job.run.pk, job.mapping)
    date_doubts(job)
    carry_out(job, job.pipeline(), chunks)


def date_doubts(job: Job) -> None:
    writer.date_doubts(job.scope, claims.lease_seconds() if _others_at_it(job) else 0.0)


def carry_out(job: Job, pipeline: Pipeline, chunks: Iterable[Chunk]) -> None:
    """Ends with the part done, or given back where it stands."""
    complete = pipeline.run(chunks)
    crash.point("finish.before")
    if complete:
        claims.finish(job.claim.fence)
    else:
        claims.release(job.claim.fence)
    crash.point("finish.after")


def _others_at_it(job: Job) -> bool:
    """Whether another worker may be sending records of the same run or of another sync with the same links."""
    others = RunPart.objects.filter(state=RunPart.State.LEASED, lease_until__gt=Now()).exclude(pk=job.part.pk)
    same = {"run__sync__connection": job.scope.connection_id, "run__sync__object_type": job.scope.object_type}
    return others.filter(**same, run__sync__dataset=job.scope.dataset).exists()


def _looked_up(job: Job) -> bool:
    """The run's own first list: who is who was found out for all of it just before."""
    return job.part.round == 0 and job.part.priority < RunPart.Priority.CHANGE and job.run.kind in SWEEPING


def _any_unlinked(job: Job) -> bool:
    """Of those that are records: the outbox also names some that are none (any more)."""
    scope, field = job.scope, job.source.dataset.key_field
    records = job.source.queryset().filter(**{f"{field}__in": job.part.keys}).values_list(field, flat=True)
    linked = Link.objects.filter(
        connection_id=scope.connection_id,
        object_type=scope.object_type,
        dataset=scope.dataset,
        local_key__in=job.part.keys,
        remote_id__isnull=False,
    ).exclude(state=Link.State.GONE)
    return not {str(key) for key in records} <= set(linked.values_list("local_key", flat=True))
