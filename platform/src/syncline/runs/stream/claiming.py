"""Continuous parts: claimed under a short lease, never given up, and shared among the processes that are there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from django.db import connection

from syncline.ledger.records import Fence
from syncline.runs.claims import Claim
from syncline.runs.models import RunPart

from .job import lease_seconds

SILENT_FOR: Final = 3.0
"""Times the pause between two signs of life after which a process counts as gone."""
BEAT: Final = 2.0

# A shard waits for whoever still sends its messages for the run before, as long as that one's lease would have lasted.
_CLAIM = """
UPDATE syncline_runpart SET state = 'leased', owner = %s, lease_until = now() + make_interval(secs => %s),
       fence = fence + 1, attempt = least(attempt + 1, 1000)
WHERE id = (
    SELECT p.id FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id AND r.state <> 'paused'
    WHERE p.kind IN ('relay', 'stream')
      AND (p.state = 'queued' AND p.not_before <= now() OR p.state = 'leased' AND p.lease_until < now())
      AND NOT (p.kind = 'relay' AND EXISTS (
          SELECT 1 FROM syncline_runpart before
          WHERE before.run_id = (SELECT max(b.id) FROM syncline_run b WHERE b.sync_id = r.sync_id AND b.id < r.id)
            AND before.partition = p.partition AND before.state = 'done' AND before.lease_until >= now()))
    ORDER BY p.not_before, p.id
    FOR UPDATE OF p SKIP LOCKED LIMIT 1
)
RETURNING id, fence
"""

_BEAT = """
INSERT INTO syncline_streamworker (name, host, pid) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE SET beat_at = now()
"""

_TIDY = "DELETE FROM syncline_streamworker WHERE beat_at < now() - interval '1 hour'"

# Those that nobody can have at the moment do not count: they would make everybody's share too large.
_SHARE = """
SELECT (SELECT count(*) FROM syncline_streamworker WHERE beat_at > now() - make_interval(secs => %s)),
       (SELECT count(*) FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id AND r.state <> 'paused'
        WHERE p.kind IN ('relay', 'stream') AND p.state IN ('queued', 'leased'))
"""


@dataclass(frozen=True, slots=True)
class Process:
    """How this process is known to the others."""

    name: str
    host: str
    pid: int


def claim(owner: str) -> Claim | None:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [owner, lease_seconds()])
        row = cursor.fetchone()
    if row is None:
        return None
    part = RunPart.objects.select_related("run__sync__connection", "run__sync__source", "run__version").get(pk=row[0])
    return Claim(part, Fence(part.pk, row[1], part.run_id))


def beat(me: Process) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_BEAT, [me.name, me.host, me.pid])
        cursor.execute(_TIDY)


def leave(me: Process) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM syncline_streamworker WHERE name = %s", [me.name])


def share() -> int:
    """How many parts are a process's fair share."""
    with connection.cursor() as cursor:
        cursor.execute(_SHARE, [SILENT_FOR * BEAT])
        processes, parts = cursor.fetchone()
    return math.ceil(int(parts) / max(1, int(processes)))
