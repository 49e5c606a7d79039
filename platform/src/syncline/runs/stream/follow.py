"""Follows what changes in the account, for records that are kept the same here: as a pull does, only without end.

What is lost on the way (a gap), and what was there before, comes with a whole listing, which ordinary workers carry out as
another part of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db.backends.utils import CursorWrapper

from syncline import background
from syncline.contract import ConfigError, Page, PullRequest, RemoteRecord
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.runs.pull import arriving, ground, pages, steps
from syncline.runs.pull.ground import Ground
from syncline.runs.queue import QUEUE

from . import receive
from .job import StreamJob

FOLLOWED: Final = "follow"
"""Partition of the checkpoint that says how far the following came; the other one is that of whole listings."""


def follow(job: StreamJob) -> None:
    """Until it is told to stop."""
    opened = ground.opened(job)
    if opened.finder.staged:
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
    """Records that are not told whole are asked for."""
    asked = time.monotonic()
    records = _whole(opened, pages.tidy(page.records)[0])

    def also(cursor: CursorWrapper) -> None:
        receive.move(cursor, job, page)
        receive.note_gap(cursor, job, page.gap)
        if page.gap or not _was_listed(job):
            _list_all(job)

    arriving.land(opened, records, also, age=_since(asked))


def _since(asked: float) -> Callable[[], float]:
    return lambda: time.monotonic() - asked


def _whole(opened: Ground, records: Sequence[RemoteRecord]) -> list[RemoteRecord]:
    names = opened.flow.inbound.properties
    told = [r for r in records if r.archived or all(name in r.properties for name in names)]
    known = {r.id for r in told}
    partial = list(dict.fromkeys(r.id for r in records if r.id not in known))
    return [*told, *(steps.fetched(opened, partial) if partial else ())]


def _was_listed(job: StreamJob) -> bool:
    """Or is being listed."""
    begun = Checkpoint.objects.filter(sync_id=job.sync.pk, partition="", seen_until__isnull=False).exists()
    return begun or job.run.parts.filter(kind=RunPart.Kind.PULL, state__in=RunPart.OPEN).exists()


def _list_all(job: StreamJob) -> None:
    Checkpoint.objects.filter(sync_id=job.sync.pk, partition="").update(
        seen_until=None, window_until=None, position="", archived=False, whole=False, run_id=None
    )
    RunPart.objects.create(run=job.run, kind=RunPart.Kind.PULL, priority=RunPart.Priority.BACKFILL)
    background.ring(QUEUE)
