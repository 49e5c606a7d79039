"""Asks for pulls: of what changed since the last one, or of just these records."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction

from syncline import background
from syncline.contract import ConfigError
from syncline.runs.models import Run, RunPart
from syncline.runs.queue import QUEUE
from syncline.runs.start import JOINABLE, AlreadyRunning, check, created, start_run
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

from . import parts, undone

log = logging.getLogger("syncline.runs")

PULLING = (Direction.PULL.value, Direction.TWO_WAY.value)


def pull_changes(sync: Sync, trigger: str = "schedule") -> Run | None:
    """A run of what changed there since the last one; None while another run is active, which will bring it, or the next one."""
    try:
        return start_run(sync, kind=Run.Kind.CHANGES, trigger=trigger)
    except AlreadyRunning:
        log.info("The changes of sync %s are pulled when its active run has ended.", sync.pk)
        return None


def pull_ids(connection_id: int, object_type: str, remote_ids: Sequence[str], trigger: str = "webhook") -> int:
    """Pulls just these records into every dataset that a sync of this object pulls into; gives how many syncs do, now or later.

    In the caller's transaction, if there is one. A sync that cannot run now keeps nothing from the others: its next run
    fetches them. When none can: AlreadyRunning while an active run cannot take it, ConfigError why it cannot run.
    """
    syncs = Sync.objects.filter(
        connection_id=connection_id, object_type=object_type, direction__in=PULLING, enabled=True, current__isnull=False
    )
    with transaction.atomic():
        found = list(syncs.select_related("connection__owner", "current").order_by("pk"))
        refused = [(sync, error) for sync in found if (error := _refusal(sync, remote_ids, trigger))]
        if refused and len(refused) == len(found):
            raise refused[0][1]
        for sync, error in refused:
            undone.put_by(sync, remote_ids, str(error))
    return len(found)


def _refusal(sync: Sync, remote_ids: Sequence[str], trigger: str) -> ConfigError | None:
    try:
        with transaction.atomic():
            pull_records(sync, remote_ids, trigger=trigger)
    except ConfigError as error:
        return error
    return None


def pull_records(
    sync: Sync,
    remote_ids: Sequence[str],
    *,
    priority: int = RunPart.Priority.CHANGE,
    trigger: str = "manual",
    user: User | None = None,
) -> Run:
    """As part of the active run or, when there is none, by a run of their own."""
    check(sync, user)
    ids = list(dict.fromkeys(remote_ids))
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(sync=sync, state__in=Run.ACTIVE).first()
        if run is not None and run.kind not in JOINABLE:
            raise AlreadyRunning(f"A run of kind “{run.get_kind_display()}” is active; try again when it has ended.")
        if run is not None:
            parts.add_ids(run, ids, priority)
            background.ring(QUEUE)
            return run
    with created(sync, kind=Run.Kind.KEYS, trigger=trigger, requested_by=user) as run:
        parts.add_ids(run, ids, priority)
    return run
