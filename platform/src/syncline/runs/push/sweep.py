"""Compares a whole dataset with its links in one statement, so that a run over unchanged records costs no chunk at all.

PostgreSQL hashes every row and joins it with its link; only keys that need work come back. When these are many, as in a
first load, the run reads range by range instead, which asks the same of each row again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from django.db import connection, transaction

from syncline.ledger.models import Link

from .reader import BUSY, Source

MOST = 100_000
"""Keys that are kept in memory; with more of them ranges are read."""

QUIET_ROWS = 50
"""Rows without a key are fewer: link states, counted before or not."""

_SWEEP = """
SELECT l.state, b.seen_, CASE WHEN b.busy_ THEN j.c0::text END, l.remote_id IS NULL AND b.busy_, count(*)
FROM (SELECT s.c0, hash_record_extended(s, %s) AS hash_ FROM ({query}) AS s ({columns})) j
LEFT JOIN syncline_link l
  ON l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = j.c0::text
CROSS JOIN LATERAL (SELECT {busy} AS busy_, coalesce(l.last_run_id = %s, false) AS seen_) b
GROUP BY 1, 2, 3, 4 LIMIT %s
"""


@dataclass
class Swept:
    """`quiet`: by link state, what needs no work and was not counted by this run before; `read`: how many those are, counted
    ones included. `unlinked`: whether some of the busy ones have to be matched."""

    quiet: Counter[str] = field(default_factory=Counter)
    read: int = 0
    busy: list[str] = field(default_factory=list)
    unlinked: bool = False


def sweep(source: Source) -> Swept | None:
    """None when it would not pay: nothing is linked yet, or too much needs work."""
    if not linked(source):
        return None
    query, params = source.values(source.queryset()).query.sql_with_params()
    columns = ", ".join(f"c{i}" for i in range(len(source.columns)))
    scope = source.scope
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(
            _SWEEP.format(query=query, columns=columns, busy=BUSY.format(hash="j.hash_")),
            [
                source.seed,
                *params,
                *(scope.connection_id, scope.object_type, scope.dataset),
                *(source.run_id, source.force),
                *(source.run_id, MOST + QUIET_ROWS),
            ],
        )
        rows = cursor.fetchall()
    return _swept(rows)


def linked(source: Source) -> bool:
    scope = source.scope
    return Link.objects.filter(
        connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, remote_id__isnull=False
    ).exists()


def _swept(rows: list[tuple[str | None, bool, str | None, bool, int]]) -> Swept | None:
    found = Swept()
    for state, seen, key, unlinked, number in rows:
        if key is None:
            found.read += number
            found.quiet[state or ""] += 0 if seen else number
        else:
            found.busy.append(key)
            found.unlinked |= unlinked
    return found if len(found.busy) <= MOST else None
