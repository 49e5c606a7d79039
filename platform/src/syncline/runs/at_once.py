"""Changes at once: several times a second, what waits for syncs that wait for no schedule becomes parts.

While a part of a sync is on its way, its next keys wait and go together, and no two are made within a second. So each sync
has one part in the lane at most, however many keys wait for it, and every other sync its turn. The keys are looked for, not
told: a NOTIFY would have the commits of all writers wait for each other.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from syncline.contract import SynclineError
from syncline.outbox.wanted import WANTS
from syncline.syncs.models import Sync

from . import changes
from .models import RunPart
from .queue import KEYS_PER_PART

EVERY: Final = 0.2
APART: Final = 1.0
"""Seconds between two parts of a sync: what changes in between goes together."""
AFTER_FAILURE: Final = 60.0
"""Seconds after a run that failed or was cancelled, whose keys wait again."""
AGAIN: Final = 10.0
"""Seconds after which a sync that could not run is tried again."""

log = logging.getLogger("syncline.runs")

_held: dict[int, float] = {}
"""Sync → when it is tried again, in this process's clock."""

# Its latest run is the active one, if there is one. What was put off comes back by itself and keeps nothing waiting. From one
# sync that waits to the next by the index: the planner would rather read a whole flood.
_READY: Final = f"""
WITH RECURSIVE waiting (id) AS (
    SELECT min(sync_id) FROM syncline_outboxkey
    UNION ALL
    SELECT (SELECT min(sync_id) FROM syncline_outboxkey WHERE sync_id > w.id) FROM waiting w WHERE w.id IS NOT NULL
)
SELECT s.id FROM waiting w JOIN syncline_sync s USING (id)
LEFT JOIN LATERAL (SELECT id, state, finished_at FROM syncline_run WHERE sync_id = s.id ORDER BY id DESC LIMIT 1) r ON true
WHERE s.at_once AND {WANTS} AND (%(sync)s::bigint IS NULL OR s.id = %(sync)s)
  AND (r.state IS NULL OR r.state NOT IN ('queued', 'running', 'paused')
    OR (SELECT true FROM syncline_outboxkey o WHERE o.sync_id = s.id AND o.local_key <> '' LIMIT 1))
  AND (r.state IS NULL OR r.state NOT IN ('failed', 'cancelled') OR r.finished_at < now() - make_interval(secs => %(failed)s))
  AND NOT EXISTS (
    SELECT 1 FROM syncline_runpart p
    WHERE p.run_id = r.id AND p.kind = 'keys' AND p.priority = %(lane)s AND p.round = 0
      AND (p.state IN ('queued', 'leased') OR p.not_before > now() - make_interval(secs => %(apart)s)))
ORDER BY s.id
"""  # noqa: S608 - of constants


def look() -> None:
    """One part for each sync whose keys may go now."""
    now = time.monotonic()
    for sync_id in _ready():
        if _held.get(sync_id, 0.0) <= now:
            _held.pop(sync_id, None)
            _push(sync_id)


def _ready(sync_id: int | None = None) -> list[int]:
    given = {"sync": sync_id, "failed": AFTER_FAILURE, "apart": APART, "lane": int(RunPart.Priority.CHANGE)}
    with connection.cursor() as cursor:
        cursor.execute(_READY, given)
        return [row[0] for row in cursor.fetchall()]


def _push(sync_id: int) -> None:
    """Whatever keeps one sync from running keeps no other waiting."""
    try:
        _take_turn(sync_id)
        return
    except SynclineError as error:
        changes.note(sync_id, error)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise  # the database is away
        log.info("The changes of sync %s wait: its run is held by somebody else.", sync_id)
    except Exception:
        log.exception("The changes of sync %s could not be taken; they are tried again in %.0f s.", sync_id, AGAIN)
    _held[sync_id] = time.monotonic() + AGAIN


def _take_turn(sync_id: int) -> None:
    """Of several workers one does; who was a moment later looks anew, and finds the part on its way."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', '1s', true)")
        sync = (
            Sync.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
            .select_related("connection__owner", "current")
            .filter(pk=sync_id)
            .first()
        )
        if sync is not None and _ready(sync_id):
            changes.push_some(sync, KEYS_PER_PART)
