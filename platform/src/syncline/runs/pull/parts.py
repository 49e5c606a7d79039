"""Which parts a run that pulls begins with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db.models import Q
from django.db.models.functions import Now

from syncline.contract import Op
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.runs.models import Run, RunPart

AGAIN_AFTER = dt.timedelta(days=1)
IDS_PER_PART = 2000
MOST = 50_000

PERHAPS_OURS: Final = "perhaps_ours"
BEING_CREATED: Final = "being_created"
"""Codes of records that may be what a push without an answer made."""

PATIENCE = AGAIN_AFTER
"""How long a record waits for such an answer before a person is asked."""


def add(run: Run, priority: int, *, pushes: bool) -> None:
    """A whole run lists everything, one for problems fetches what found no place, one for changes does both where it is due.

    `pushes`: so does the run once the changes are here.
    """
    ids = [] if run.kind == Run.Kind.FULL else unplaced(run)
    if run.kind != Run.Kind.RETRY or not ids or pushes:
        RunPart.objects.create(run=run, kind=RunPart.Kind.PULL, priority=priority)
    add_ids(run, ids, priority)


def add_ids(run: Run, ids: Sequence[str], priority: int) -> None:
    """Remote records to be fetched; the caller rings when its transaction commits."""
    lists = [list(ids[start : start + IDS_PER_PART]) for start in range(0, len(ids), IDS_PER_PART)]
    RunPart.objects.bulk_create([RunPart(run=run, kind=RunPart.Kind.FETCH, keys=some, priority=priority) for some in lists])


def unplaced(run: Run) -> list[str]:
    """Those that wait for another record or whose turn did not come, and once a day, or when a person asks, all others."""
    found = Arrival.objects.filter(sync_id=run.sync_id)
    if run.kind != Run.Kind.RETRY:
        due = Q(state__in=(Link.State.WAITING, Link.State.PENDING)) | Q(checked_at__lt=Now() - AGAIN_AFTER)
        if not _creating(run):
            due |= Q(code=PERHAPS_OURS)  # what they may have been is settled
        found = found.filter(due)
    return list(found.order_by("checked_at").values_list("remote_id", flat=True)[:MOST])


def _creating(run: Run) -> bool:
    """Whether the answer to a creation there is missing."""
    found = Link.objects.filter(connection=run.sync.connection_id, object_type=run.sync.object_type)
    return found.filter(remote_id=None, uncertain_op=Op.CREATE).exists()
