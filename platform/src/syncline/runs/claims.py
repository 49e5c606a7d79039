"""Claiming parts of runs: one conditional UPDATE, a lease that is renewed, a fence that is raised by each claim.

Times are PostgreSQL's. A claim whose worker died runs out after SYNCLINE_LEASE_SECONDS and is taken over by anyone. It is
renewed in a sixth of that time, and a call may take two thirds of it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connection, connections

from syncline.ledger.records import Fence
from syncline.ledger.storable import dumps
from syncline.ledger.writer import FenceLost

from . import crash
from .models import Run, RunPart

MAX_ATTEMPTS = 8

log = logging.getLogger("syncline.runs")

SILENT = "Every attempt ended without progress."
"""Why a part is dead whose workers died with it."""

_CLAIM = """
WITH busy AS MATERIALIZED (
    SELECT s.connection_id, p.priority, count(*) AS parts
    FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id JOIN syncline_sync s ON s.id = r.sync_id
    WHERE p.state = 'leased' AND p.lease_until >= now() GROUP BY s.connection_id, p.priority
)
UPDATE syncline_runpart SET state = 'leased', owner = %s, lease_until = now() + make_interval(secs => %s),
       fence = fence + 1, attempt = attempt + 1, last_error = CASE WHEN state = 'leased' THEN '' ELSE last_error END
WHERE id = (
    SELECT p.id FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id AND r.state <> 'paused'
    JOIN syncline_sync s ON s.id = r.sync_id
    LEFT JOIN busy b ON b.connection_id = s.connection_id AND b.priority = p.priority
    WHERE (p.state = 'queued' AND p.not_before <= now() OR p.state = 'leased' AND p.lease_until < now())
      AND p.kind NOT IN ('relay', 'stream') AND p.attempt < %s AND p.priority >= %s AND (%s::bigint IS NULL OR p.run_id = %s)
      AND (p.priority IS DISTINCT FROM %s::smallint OR b.parts IS NULL)
    ORDER BY p.priority DESC, coalesce(b.parts, 0), p.not_before, p.id
    FOR UPDATE OF p SKIP LOCKED LIMIT 1
)
RETURNING id, fence
"""

_BURY = """
UPDATE syncline_runpart SET state = 'dead', lease_until = NULL,
       last_error = CASE WHEN last_error = '' OR state = 'leased' THEN %s ELSE last_error END
WHERE attempt >= %s AND kind NOT IN ('relay', 'stream') AND (state = 'queued' OR state = 'leased' AND lease_until < now())
RETURNING run_id, last_error <> %s
"""


@dataclass(frozen=True, slots=True)
class Claim:
    part: RunPart
    fence: Fence


def lease_seconds() -> float:
    return float(getattr(settings, "SYNCLINE_LEASE_SECONDS", 30.0))


def call_timeout() -> tuple[float, float]:
    """Seconds to connect and to read: together well under the lease."""
    return lease_seconds() / 6, lease_seconds() / 2


def owner_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


def claim(owner: str, run_id: int | None = None, *, urgent: bool = False) -> Claim | None:
    """Takes the next claimable part, or None. Never two workers the same one.

    In each lane, the connection that has the fewest parts carried out at the moment is first. `urgent`: only what somebody
    waits for and what just changed, of changes only those of a connection none of whose are carried out: a flooded or slow
    one leaves room for the others.
    """
    least = RunPart.Priority.CHANGE if urgent else RunPart.Priority.PUT_OFF
    shared = RunPart.Priority.CHANGE if urgent else None
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [owner, lease_seconds(), MAX_ATTEMPTS, least, run_id, run_id, shared])
        row = cursor.fetchone()
    if row is None:
        return None
    crash.point("claim.after")
    part = RunPart.objects.select_related("run__sync__connection", "run__version").get(pk=row[0])
    return Claim(part, Fence(part.pk, row[1], part.run_id))


def bury() -> list[int]:
    """Parts that used up their attempts die; gives the runs concerned.

    One that killed its workers dies alone. One that met an error again and again ends its run: the others would meet it too.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BURY, [SILENT, MAX_ATTEMPTS, SILENT])
        found = cursor.fetchall()
    hopeless = [run_id for run_id, explained in found if explained]
    RunPart.objects.filter(run__in=hopeless, state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED, lease_until=None)
    return sorted({run_id for run_id, _ in found})


_OTHERS_WAIT = """
WITH busy AS MATERIALIZED (
    SELECT DISTINCT s.connection_id FROM syncline_runpart p
    JOIN syncline_run r ON r.id = p.run_id JOIN syncline_sync s ON s.id = r.sync_id
    WHERE p.state = 'leased' AND p.lease_until >= now() AND p.priority = %(lane)s
)
SELECT EXISTS (
    SELECT 1 FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id AND r.state <> 'paused'
    JOIN syncline_sync s ON s.id = r.sync_id
    WHERE p.state = 'queued' AND p.not_before <= now() AND p.kind NOT IN ('relay', 'stream')
      AND (p.priority > %(lane)s OR p.priority = %(lane)s AND s.connection_id NOT IN (SELECT connection_id FROM busy)))
"""


def others_wait(lane: int) -> bool:
    """Whether somebody waits in a lane before this one, or in it a connection none of whose parts is carried out."""
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS_WAIT, {"lane": lane})
        return bool(cursor.fetchone()[0])


_RENEW = """
UPDATE syncline_runpart SET lease_until = now() + make_interval(secs => %s)
WHERE id = %s AND fence = %s AND state = 'leased'
RETURNING (SELECT state FROM syncline_run WHERE id = run_id)
"""


def renew(fence: Fence, seconds: float | None = None) -> str | None:
    """The state of the run, None when the claim is lost."""
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, [seconds or lease_seconds(), fence.part_id, fence.fence])
        row = cursor.fetchone()
    return str(row[0]) if row else None


def release(fence: Fence, *, after: float = 0.0, error: str = "", spent: bool = False) -> bool:
    """Gives the part back. A voluntary release does not spend the attempt."""
    return _update(
        fence,
        "state = 'queued', lease_until = NULL, not_before = now() + make_interval(secs => %s), last_error = %s,"
        " failing_since = CASE WHEN %s = '' THEN NULL ELSE coalesce(failing_since, now()) END,"
        " attempt = greatest(attempt - %s, 0)",
        after,
        error,
        error,
        0 if spent else 1,
    )


def let_go(fence: Fence) -> None:
    """Nothing of the part is under way any more, although it was ended meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_LET_GO, [fence.part_id, fence.fence])


_LET_GO = "UPDATE syncline_runpart SET lease_until = NULL WHERE id = %s AND fence = %s AND state = 'done'"


def finish(fence: Fence, state: str = RunPart.State.DONE, error: str = "") -> bool:
    return _update(fence, "state = %s, lease_until = NULL, last_error = %s", state, error)


def _update(fence: Fence, assignment: str, *values: str | float) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE syncline_runpart SET {assignment} WHERE id = %s AND fence = %s AND state = 'leased'",  # noqa: S608
            [*values, fence.part_id, fence.fence],
        )
        return bool(cursor.rowcount == 1)


def _clock() -> float:
    """Seconds that pass while a virtual machine is suspended as well: a lease does not wait for it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Keeps a claim alive from a thread of its own; `gate` refuses to start a call that could outlive it.

    `seconds`: how long it lasts unless renewed, by default those of a setting. `paused`: somebody paused the run; the part is to
    be given back at the next good moment. `lost`: somebody else has it by now.
    """

    def __init__(self, fence: Fence, seconds: float | None = None) -> None:
        self._fence, self._stop, self._lost = fence, threading.Event(), threading.Event()
        self._seconds = seconds or lease_seconds()
        self.paused = False
        self._until = _clock() + self._seconds
        self._thread = threading.Thread(target=self._beat, name=f"lease-{fence.part_id}", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def gate(self, seconds: float) -> None:
        """Raises FenceLost unless the lease lasts `seconds` more; one that is only short is renewed first."""
        if self._until - _clock() < seconds:
            self._renew()
        if self._lost.is_set() or self._until - _clock() < seconds:
            raise FenceLost

    def sure(self) -> None:
        """Raises FenceLost when somebody else has the part: asks the database, however young the last answer is."""
        self._renew()
        self.gate(0.0)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def _beat(self) -> None:
        try:
            while not self._stop.wait(self._seconds / 6):
                self._renew()
        finally:
            connections.close_all()

    def _renew(self) -> None:
        started = _clock()
        try:
            state = renew(self._fence, self._seconds)
        except DatabaseError as error:
            log.warning(
                "The lease of part %s could not be renewed (%s); trying again.", self._fence.part_id, type(error).__name__
            )
            connections.close_all()
            return
        if state:
            self._until = started + self._seconds
            self.paused = state == Run.State.PAUSED
        else:
            self._lost.set()


_REQUEUE = """
INSERT INTO syncline_runpart (run_id, kind, state, keys, priority, round, not_before)
SELECT run_id, 'keys', 'queued', %s::jsonb, CASE WHEN priority >= %s THEN priority ELSE %s END, %s,
       now() + make_interval(secs => %s)
FROM syncline_runpart WHERE id = %s AND fence = %s AND state = 'leased'
"""


def requeue_keys(fence: Fence, keys: Sequence[str], *, after: float, round_: int) -> None:
    """These records are read again later, as a part of the same run; in their lane when somebody waits for them."""
    with connection.cursor() as cursor:
        urgent, later = RunPart.Priority.CHANGE, RunPart.Priority.PUT_OFF
        cursor.execute(_REQUEUE, [dumps(list(keys)), urgent, later, round_, after, fence.part_id, fence.fence])


_SPLIT = """
WITH mine AS (
    UPDATE syncline_runpart SET {bound} WHERE id = %s AND fence = %s AND state = 'leased'
    RETURNING run_id, kind, priority, round
)
INSERT INTO syncline_runpart (run_id, kind, state, priority, round, after_key, until_key, keys)
SELECT run_id, kind, 'queued', priority, round, %s, %s, %s::jsonb FROM mine
"""


def split_range(fence: Fence, at: str, until: str) -> bool:
    """This part ends at the key `at`; what comes after it, up to `until`, becomes a part that anybody may claim."""
    return _split(fence, "until_key = %s", at, at, until, [])


def split_keys(fence: Fence, mine: Sequence[str], rest: Sequence[str]) -> bool:
    return _split(fence, "keys = %s::jsonb, cursor = ''", dumps(list(mine)), "", "", rest)


def _split(fence: Fence, bound: str, value: str, after: str, until: str, keys: Sequence[str]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SPLIT.format(bound=bound), [value, fence.part_id, fence.fence, after, until, dumps(list(keys))])
        return bool(cursor.rowcount == 1)


def part_rows(part: RunPart) -> int:
    """How many records a part takes at most. One that kills its workers (they leave no word) shrinks with each attempt, down
    to the record that does it: only that one is given up."""
    whole = int(getattr(settings, "SYNCLINE_PART_ROWS", 10_000))
    if part.last_error:
        return whole
    return 1 if part.attempt >= MAX_ATTEMPTS else max(1, whole >> 2 * max(0, part.attempt - 2))
