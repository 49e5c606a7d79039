"""Starts syncs that follow others: companies, then people, then deals.

A follower is marked in the transaction that closes the run before it, and started from that mark: no crash between the two
loses a link of the chain, and one that is still running at that time starts once more when it has ended.
"""

from __future__ import annotations

import logging

from django.db import transaction

from syncline.contract import ConfigError, SynclineError
from syncline.ledger.models import Link
from syncline.syncs.following import circle
from syncline.syncs.models import Sync

from .models import Run, RunPart
from .queue import WHOLE
from .start import AlreadyRunning, push_keys, start_run

TRIGGER = "follows"
MOST_WAITING = 2000

log = logging.getLogger("syncline.runs")


def start_marked() -> int:
    """Gives how many were started."""
    marked = Sync.objects.filter(follows_run_id__isnull=False).order_by("pk").values_list("pk", flat=True)
    return sum([_start(sync_id) for sync_id in list(marked)])


def _start(sync_id: int) -> int:
    try:
        with transaction.atomic():
            sync = (
                Sync.objects.select_for_update(skip_locked=True, of=("self",))
                .select_related("connection__owner", "current", "follows")
                .filter(pk=sync_id, follows_run_id__isnull=False)
                .first()
            )
            if sync is None:
                return 0
            Sync.objects.filter(pk=sync_id).update(follows_run_id=None)
            return int(sync.enabled and _go_on(sync))
    except AlreadyRunning:
        log.info("The sync %s follows a run that has ended, but is still running; it starts once more after that.", sync_id)
    except SynclineError as error:
        log.warning("The sync %s follows a run that has ended, but cannot start: %s", sync_id, error)
        Sync.objects.filter(pk=sync_id).update(blocked_reason=str(error), follows_run_id=None)
    return 0


def _go_on(sync: Sync) -> bool:
    """A whole run is followed by a whole run; one of a few records by those that wait for them."""
    if ring := circle(sync):
        raise ConfigError(f"These syncs wait for each other: {' → '.join(ring)}. Let one of them follow none.")
    if Run.objects.filter(pk=sync.follows_run_id or 0, kind__in=WHOLE).exists():
        start_run(sync, trigger=TRIGGER)
        return True
    keys = _waiting(sync)
    if keys:
        push_keys(sync, keys, priority=RunPart.Priority.CHANGE, kind=Run.Kind.CHANGES, trigger=TRIGGER)
    return bool(keys)


def _waiting(sync: Sync) -> list[str]:
    """Records that wait for another one to be linked, the longest unseen first; the rest has its turn in the next whole run."""
    links = Link.objects.filter(
        connection_id=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset, state=Link.State.WAITING
    )
    return list(links.order_by("checked_at").values_list("local_key", flat=True)[:MOST_WAITING])
