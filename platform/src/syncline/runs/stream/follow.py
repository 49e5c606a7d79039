"""Follows what changes in the account, for records that are kept the same here: as a pull does, only without end.

What is lost on the way (a gap), and what was there before, comes with a whole listing, which ordinary workers carry out as
another part of the run.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from django.db import connection, transaction
from django.db.models.functions import Now

from syncline import background
from syncline.contract import ConfigError, Page
from syncline.ledger import writer
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.runs.pull import arriving, asking, ground
from syncline.runs.pull.ground import Ground
from syncline.runs.pull.pages import together
from syncline.runs.queue import QUEUE

from . import receive
from .job import StreamJob

FOLLOWED: Final = "follow"
"""Partition of the checkpoint that says how far the following came; the other one is that of whole listings."""
BEHIND: Final = RunPart.Priority.BACKFILL
PAUSE: Final = 60.0
"""Seconds before another listing for each that failed in this run, LONGEST at most."""
LONGEST: Final = 3600.0


def follow(job: StreamJob) -> None:
    """Until it is told to stop."""
    opened = ground.opened(job)
    if opened.finder.staging:
        raise ConfigError(f"{job.source.dataset.info.label} does not find records quickly. Pull by a schedule instead.")
    listing = receive.pages(job, opened.flow.inbound.properties)
    with together(listing, lambda _page: 1, 1, 1, receive.SILENCE) as pages:
        for [page] in pages:
            _store(job, opened, page)
            job.gauge.saw(len(page.records), page.behind)
            if job.interrupted():
                return


def _store(job: StreamJob, opened: Ground, page: Page) -> None:
    """What an event says may be older than what is stored here: the records are asked for as they are now, each once."""
    lots = [list(dict.fromkeys(one.id for one in page.records))] if page.records else []
    for found in asking.asked(opened, lots):
        arriving.land(opened, found.records, age=_since(found.at), refused=found.refused)
    with transaction.atomic(), connection.cursor() as cursor:
        writer.hold(cursor, job.claim.fence, "FOR NO KEY UPDATE")
        receive.move(cursor, job, page)
        receive.note_gap(cursor, job, page.gap)
        if page.gap:
            _forget_listing(job)
        _see_to_listing(job, lost=bool(page.gap))
        writer.advance(cursor, job.claim.fence, Counter())


def _since(asked: float) -> Callable[[], float]:
    return lambda: time.monotonic() - asked


def _forget_listing(job: StreamJob) -> None:
    """What was listed, or is being listed, is not all there is."""
    Checkpoint.objects.filter(sync_id=job.sync.pk, partition="").update(
        seen_until=None, window_until=None, position="", archived=False, whole=False, run_id=None
    )


def _see_to_listing(job: StreamJob, *, lost: bool) -> None:
    """One goes on at a time: whatever is lost meanwhile, one more comes after it. After one that failed there is a pause."""
    listings = job.run.parts.filter(kind=RunPart.Kind.PULL)
    there = set(listings.filter(state__in=RunPart.OPEN).values_list("state", flat=True))
    if there == {RunPart.State.BLOCKED}:
        listings.filter(state=RunPart.State.BLOCKED).update(state=RunPart.State.QUEUED)
    elif there == {RunPart.State.LEASED} and lost:
        RunPart.objects.create(run=job.run, kind=RunPart.Kind.PULL, priority=BEHIND, state=RunPart.State.BLOCKED)
        return
    elif not there and not _was_listed(job):
        failed = listings.filter(state=RunPart.State.DEAD).count()
        later = Now() + dt.timedelta(seconds=min(failed * PAUSE, LONGEST))
        RunPart.objects.create(run=job.run, kind=RunPart.Kind.PULL, priority=BEHIND, not_before=later)
    else:
        return
    background.ring(QUEUE)


def _was_listed(job: StreamJob) -> bool:
    return Checkpoint.objects.filter(sync_id=job.sync.pk, partition="", seen_until__isnull=False).exists()
