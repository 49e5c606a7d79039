"""Follows what changes in the account, for records that are kept the same here: as a pull does, only without end.

What is lost on the way (a gap), and what was there before, comes with a whole listing, which ordinary workers carry out as
another part of the run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from django.db import connection, transaction

from syncline import background
from syncline.contract import ConfigError, Page, PullRequest
from syncline.ledger import writer
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.runs.pull import arriving, asking, ground
from syncline.runs.pull.ground import Ground
from syncline.runs.queue import QUEUE

from . import receive
from .job import StreamJob

FOLLOWED: Final = "follow"
"""Partition of the checkpoint that says how far the following came; the other one is that of whole listings."""


def follow(job: StreamJob) -> None:
    """Until it is told to stop."""
    opened = ground.opened(job)
    if opened.finder.staging:
        raise ConfigError(f"{job.source.dataset.info.label} does not find records quickly. Pull by a schedule instead.")
    names = opened.flow.inbound.properties
    request = PullRequest(properties=names, position=receive.position(job) or None, follow=True)
    listing = iter(job.connector.call.pull(session=job.session, object_type=job.object_type, request=request))
    try:
        for page in listing:
            _store(job, opened, page)
            job.gauge.saw(len(page.records), page.behind)
            if job.interrupted():
                return
    finally:
        receive.close(listing)


def _store(job: StreamJob, opened: Ground, page: Page) -> None:
    """What an event says may be older than what is stored here: the records are asked for as they are now, each once."""
    lots = [list(dict.fromkeys(one.id for one in page.records))] if page.records else []
    for found in asking.asked(opened, lots):
        arriving.land(opened, found.records, age=_since(found.at), refused=found.refused)
    with transaction.atomic(), connection.cursor() as cursor:
        writer.hold(cursor, job.claim.fence, "FOR NO KEY UPDATE")
        receive.move(cursor, job, page)
        receive.note_gap(cursor, job, page.gap)
        if page.gap or not _was_listed(job):
            _list_all(job)
        writer.advance(cursor, job.claim.fence, Counter())


def _since(asked: float) -> Callable[[], float]:
    return lambda: time.monotonic() - asked


def _was_listed(job: StreamJob) -> bool:
    """Or is being listed."""
    begun = Checkpoint.objects.filter(sync_id=job.sync.pk, partition="", seen_until__isnull=False).exists()
    return begun or job.run.parts.filter(kind=RunPart.Kind.PULL, state__in=RunPart.OPEN).exists()


def _list_all(job: StreamJob) -> None:
    """From its beginning: a listing that was begun earlier is past what was lost since, and would move the same checkpoint."""
    job.run.parts.filter(kind=RunPart.Kind.PULL, state__in=RunPart.OPEN).update(state=RunPart.State.DONE, lease_until=None)
    Checkpoint.objects.filter(sync_id=job.sync.pk, partition="").update(
        seen_until=None, window_until=None, position="", archived=False, whole=False, run_id=None
    )
    RunPart.objects.create(run=job.run, kind=RunPart.Kind.PULL, priority=RunPart.Priority.BACKFILL)
    background.ring(QUEUE)
