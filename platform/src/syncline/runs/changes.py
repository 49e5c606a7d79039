"""Incremental runs: what waits in the outbox becomes parts of a run, and leaves the outbox in the same transaction.

Keys are taken by deleting them, never by a cursor over ids: a row whose transaction commits late is simply taken next time.
"""

from __future__ import annotations

import logging
from typing import Final

from croniter import CroniterError
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from syncline.connections.models import ConnectionState
from syncline.contract import ConfigError, SynclineError
from syncline.outbox import watch
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

from . import crash
from .models import Run, RunPart
from .pull.start import PULLING, pull_changes
from .schedule import next_times
from .start import AlreadyRunning, push_keys, start_run

TRIGGER: Final = "change"
TAKEN_AT_ONCE: Final = 20_000

log = logging.getLogger("syncline.runs")

_TAKE = """
WITH taken AS MATERIALIZED (
    SELECT id FROM syncline_outboxkey WHERE sync_id = %s AND local_key <> '' LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM syncline_outboxkey o USING taken WHERE o.id = taken.id RETURNING o.local_key
"""

_WAITING = """
SELECT EXISTS (SELECT 1 FROM syncline_outboxkey WHERE sync_id = %s AND local_key = ''),
       (SELECT count(*) FROM (SELECT 1 FROM syncline_outboxkey WHERE sync_id = %s LIMIT %s) q)
"""

_COMPACT = """
WITH gone AS (DELETE FROM syncline_outboxkey WHERE sync_id = %s RETURNING 1)
INSERT INTO syncline_outboxkey (sync_id, local_key) SELECT %s, '' WHERE EXISTS (SELECT 1 FROM gone)
"""


def most_keys() -> int:
    """When more keys wait for a sync, a full pass takes their place."""
    return int(settings.SYNCLINE_CHANGES_LIMIT)


def tick() -> None:
    """Keeps the triggers right, then pushes what changed, for the syncs whose time has come."""
    watch.reconcile()
    for sync_id in _due():
        _push_one(sync_id)


def push(sync: Sync) -> int:
    """Makes what waits parts of the active run, or of a run of its own; gives how many keys were taken.

    When everything has to be looked at, that is a full run, which takes the place of all keys that wait.
    ConfigError says why the sync cannot run, AlreadyRunning that its run takes no more; then the keys stay.
    """
    _refuse_disconnected(sync)
    if _everything_is_due(sync):
        try:
            return _start_full(sync)
        except AlreadyRunning:
            log.info("A full pass of sync %s is due; it starts when the active run has ended.", sync.pk)
    taken = 0
    while number := _take(sync, TAKEN_AT_ONCE):
        taken += number
    return taken


def push_some(sync: Sync, number: int) -> int:
    """The same for so many keys at most, that others have their turn. A full pass that is due waits for the active run."""
    _refuse_disconnected(sync)
    if not sync.runs.filter(state__in=Run.ACTIVE).exists() and _everything_is_due(sync):
        return _start_full(sync)
    return _take(sync, number)


def _refuse_disconnected(sync: Sync) -> None:
    if sync.connection.state == ConnectionState.RECONNECT:  # a run each few minutes could only fail
        raise ConfigError(f"{sync.connection.name} has lost its permission. Reconnect it; what changed is pushed then.")


def _due() -> list[int]:
    now = timezone.now()
    watched = Sync.objects.filter(enabled=True, current__isnull=False).exclude(changes_cron="")
    for sync in watched.filter(next_changes_at__isnull=True):
        _plan_next(sync)
    return list(watched.filter(next_changes_at__lte=now).values_list("pk", flat=True))


def _plan_next(sync: Sync) -> None:
    try:
        following = next_times(sync.changes_cron, 1)
    except CroniterError:
        log.warning(
            "The sync %s has the schedule of changes %r, which cannot be read. Correct it, e.g. */5 * * * *.", *_said(sync)
        )
        return
    Sync.objects.filter(pk=sync.pk).update(next_changes_at=following[0] if following else None)


def _said(sync: Sync) -> tuple[int, str]:
    return sync.pk, sync.changes_cron


def _push_one(sync_id: int) -> None:
    with transaction.atomic():
        sync = (
            Sync.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("connection__owner", "current")
            .filter(pk=sync_id, next_changes_at__lte=timezone.now())
            .first()
        )
        if sync is None:
            return
        _plan_next(sync)
    try:
        if sync.direction in PULLING:
            pull_changes(sync)
        if sync.direction != Direction.PULL:
            push(sync)
    except SynclineError as error:
        note(sync_id, error)


def note(sync_id: int, error: SynclineError) -> None:
    """Why its changes wait: on the sync's page, unless that is as it should be."""
    if isinstance(error, AlreadyRunning):
        log.info("The changes of sync %s wait: %s", sync_id, error)
        return
    if Sync.objects.filter(pk=sync_id).exclude(blocked_reason=str(error)).update(blocked_reason=str(error)):
        log.warning("The changes of sync %s cannot be pushed: %s", sync_id, error)
    _compact(sync_id)


def _everything_is_due(sync: Sync) -> bool:
    limit = most_keys()
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [sync.pk, sync.pk, limit + 1])
        everything, number = cursor.fetchone()
    return bool(everything or number > limit)


def _start_full(sync: Sync) -> int:
    """What commits later than this is not seen here, and waits for the next time."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM syncline_outboxkey WHERE sync_id = %s", [sync.pk])
            number: int = cursor.rowcount
        start_run(sync, kind=Run.Kind.FULL, trigger=TRIGGER)
        crash.point("changes.taken")
    return number


def _take(sync: Sync, most: int) -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [sync.pk, most])
            keys = {row[0] for row in cursor.fetchall()}
        if keys:
            push_keys(sync, sorted(keys), priority=RunPart.Priority.CHANGE, kind=Run.Kind.CHANGES, trigger=TRIGGER)
            crash.point("changes.taken")
    crash.point("changes.after")
    return len(keys)


def _compact(sync_id: int) -> None:
    """A sync that cannot run for long does not fill the disk: from some number on, a full pass is cheaper anyway."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [sync_id, sync_id, most_keys() + 1])
        if cursor.fetchone()[1] > most_keys():
            cursor.execute(_COMPACT, [sync_id, sync_id])
