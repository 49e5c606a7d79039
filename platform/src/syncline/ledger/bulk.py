"""Links of the records that a bulk job of the vendor carries: which they are, and what happens to those it did not write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from django.db import connection, transaction

from .records import Fence, Scope
from .writer import hold

AT_ONCE = 1000

_MINE = "connection_id = %s AND object_type = %s AND dataset = %s AND state = 'uncertain' AND refused_digest = %s"

_WAITING = f"SELECT local_key FROM syncline_link WHERE {_MINE} AND local_key > %s ORDER BY local_key LIMIT %s"  # noqa: S608

_CARRIED = f"""
SELECT local_key, revision, delivered::text, source_hash, last_run_id IS NOT DISTINCT FROM %s
FROM syncline_link WHERE {_MINE} AND local_key = ANY(%s)
"""  # noqa: S608

_UNMARK = f"""
UPDATE syncline_link SET state = 'pending', uncertain_op = '', uncertain_at = NULL, refused_digest = '', delivered = '{{}}',
       source_hash = NULL, revision = revision + 1
WHERE {_MINE} AND (%s OR local_key = ANY(%s))
"""  # noqa: S608


_DATE = f"""
UPDATE syncline_link SET uncertain_at = now() WHERE id IN (
    SELECT id FROM syncline_link WHERE {_MINE} AND uncertain_at IS NULL FOR UPDATE SKIP LOCKED)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Carried:
    """A record on its way in a job: what will have been delivered, and of which row. `seen`: this run has counted it."""

    local_key: str
    revision: int
    settled: Mapping[str, str]
    source_hash: int
    seen: bool


def waiting(scope: Scope, tag: str) -> Iterator[str]:
    """Local keys without a result yet, read as they are needed: one that got its result meanwhile does not come."""
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                _WAITING,
                [scope.connection_id, scope.object_type, scope.dataset, tag, after, AT_ONCE],
            )
            keys = [row[0] for row in cursor.fetchall()]
        yield from keys
        if len(keys) < AT_ONCE:
            return
        after = keys[-1]


def carried(scope: Scope, tag: str, run_id: int, keys: Sequence[str]) -> dict[str, Carried]:
    """Those of the keys that wait for their result."""
    with connection.cursor() as cursor:
        cursor.execute(
            _CARRIED,
            [run_id, scope.connection_id, scope.object_type, scope.dataset, tag, list(keys)],
        )
        rows = cursor.fetchall()
    return {key: Carried(key, revision, orjson.loads(settled), hash_, seen) for key, revision, settled, hash_, seen in rows}


def date(scope: Scope, tag: str) -> None:
    """Whoever marked them for this job is dead: they are on their way no longer than since now."""
    with connection.cursor() as cursor:
        cursor.execute(_DATE, [scope.connection_id, scope.object_type, scope.dataset, tag])


def unmark(scope: Scope, fence: Fence, tag: str, keys: Sequence[str] | None = None) -> int:
    """These were certainly not written (None: none of the job's): they are to be delivered, and matched, as if never sent."""
    with transaction.atomic(), connection.cursor() as cursor:
        hold(cursor, fence)
        cursor.execute(
            _UNMARK,
            [scope.connection_id, scope.object_type, scope.dataset, tag, keys is None, list(keys or ())],
        )
        return int(cursor.rowcount)
