"""Which parts a run that pulls begins with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db.models import Q
from django.db.models.functions import Now

from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.runs.models import Run, RunPart
from syncline.syncs.engine import Direction

AGAIN_AFTER = dt.timedelta(days=1)
IDS_PER_PART = 2000
MOST = 50_000


def add(run: Run, priority: int) -> None:
    """A whole run lists everything, one for problems fetches what found no place, one for changes does both where it is due.

    One for problems that also pushes asks for changes as well: its push waits for the end of a pull.
    """
    ids = [] if run.kind == Run.Kind.FULL else _unplaced(run)
    if run.kind != Run.Kind.RETRY or not ids or run.sync.direction == Direction.TWO_WAY:
        RunPart.objects.create(run=run, kind=RunPart.Kind.PULL, priority=priority)
    add_ids(run, ids, priority)


def add_ids(run: Run, ids: Sequence[str], priority: int) -> None:
    """Remote records to be fetched; the caller rings when its transaction commits."""
    lists = [list(ids[start : start + IDS_PER_PART]) for start in range(0, len(ids), IDS_PER_PART)]
    RunPart.objects.bulk_create([RunPart(run=run, kind=RunPart.Kind.FETCH, keys=some, priority=priority) for some in lists])


def _unplaced(run: Run) -> list[str]:
    """Those that wait for another record or for being fetched, and once a day, or when a person asks, all others."""
    found = Arrival.objects.filter(sync_id=run.sync_id)
    if run.kind != Run.Kind.RETRY:
        found = found.filter(Q(state__in=(Link.State.WAITING, Link.State.PENDING)) | Q(checked_at__lt=Now() - AGAIN_AFTER))
    return list(found.order_by("checked_at").values_list("remote_id", flat=True)[:MOST])
