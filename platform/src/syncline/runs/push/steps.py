"""The parts of a push: find out who is who, then send a range of keys or a list of them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from syncline.ledger import writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.runs import claims, crash
from syncline.runs.close import SUSPENDED
from syncline.runs.job import Job
from syncline.runs.models import RunPart
from syncline.syncs.engine import CompiledMapping

from . import prepare as preparation
from . import reader
from .reader import Chunk


def prepare(job: Job) -> None:
    ErrorGroup.objects.bulk_create(_suspended(job.run.pk, job.mapping), ignore_conflicts=True)
    preparation.prepare(job.identifying(), lambda: job.lease.gate(0.0))
    with transaction.atomic():
        if not claims.finish(job.claim.fence):
            raise writer.FenceLost
        RunPart.objects.filter(run=job.run, state=RunPart.State.BLOCKED).update(state=RunPart.State.QUEUED)


def push_range(job: Job) -> None:
    part = job.part
    _push(job, reader.chunks(job.source, after=part.cursor or part.after_key, until=part.until_key))


def push_keys(job: Job) -> None:
    if _any_unlinked(job):
        preparation.restage(job.identifying(), job.part.keys)
        preparation.refresh_index(job.identifying(), lambda: job.lease.gate(0.0))
    _push(job, reader.chosen(job.source, job.part.keys, skip=int(job.part.cursor or 0)))


def _push(job: Job, chunks: Iterable[Chunk]) -> None:
    writer.date_doubts(job.scope)
    complete = job.pipeline().run(chunks)
    crash.point("finish.before")
    if complete:
        claims.finish(job.claim.fence)
    else:
        claims.release(job.claim.fence)
    crash.point("finish.after")


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
