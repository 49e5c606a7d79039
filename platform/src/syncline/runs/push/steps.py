"""The parts of a push: find out who is who, then send a range of keys or a list of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import transaction
from django.db.models.functions import Now

from syncline import background
from syncline.ledger import writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.runs import claims, crash
from syncline.runs.close import SUSPENDED
from syncline.runs.job import Job
from syncline.runs.models import RunPart
from syncline.runs.queue import QUEUE
from syncline.syncs.engine import CompiledMapping

from . import prepare as preparation
from . import reader
from .pipeline import Pipeline
from .reader import Chunk


def prepare(job: Job) -> None:
    ErrorGroup.objects.bulk_create(_suspended(job.run.pk, job.mapping), ignore_conflicts=True)
    preparation.prepare(job.identifying(), lambda: job.lease.gate(0.0))
    with transaction.atomic():
        if not claims.finish(job.claim.fence):
            raise writer.FenceLost
        RunPart.objects.filter(run=job.run, state=RunPart.State.BLOCKED).update(state=RunPart.State.QUEUED)


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
    return reader.chunks(job.source, after=after, until=until, size=min(size, reader.CHUNK))


def listed(job: Job) -> Iterator[Chunk]:
    """The records of a list, as many as one part takes, with their match values as they are now."""
    part, size = job.part, claims.part_rows(job.part)
    left = part.keys[int(part.cursor or 0) :]
    if len(left) > size:
        if not claims.split_keys(job.claim.fence, left[:size], left[size:]):
            raise writer.FenceLost
        part.keys, part.cursor = left[:size], ""
        background.ring(QUEUE)
    if _any_unlinked(job):
        preparation.restage(job.identifying(), job.part.keys)
        preparation.refresh_index(job.identifying(), lambda: job.lease.gate(0.0))
    return reader.chosen(job.source, job.part.keys, skip=int(job.part.cursor or 0))


def _push(job: Job, chunks: Iterable[Chunk]) -> None:
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


def _any_unlinked(job: Job) -> bool:
    scope = job.scope
    linked = Link.objects.filter(
        connection_id=scope.connection_id,
        object_type=scope.object_type,
        dataset=scope.dataset,
        local_key__in=job.part.keys,
        remote_id__isnull=False,
    ).exclude(state=Link.State.GONE)
    return linked.count() < len(set(job.part.keys))


def _suspended(run_id: int, mapping: CompiledMapping) -> list[ErrorGroup]:
    """Rules that the account has no property for any more: no record's fault, but the run is not a full success."""
    return [
        ErrorGroup(
            run_id=run_id, cause=f"suspended {number}", state=Link.State.PENDING, code=SUSPENDED, message=str(problem), samples=[]
        )
        for number, problem in enumerate(mapping.suspended)
    ]
