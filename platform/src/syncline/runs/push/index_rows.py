"""Rows of the identity index: stored in order, forgotten without waiting for anybody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connection

from syncline.contract import RemoteRecord
from syncline.ledger.records import Scope
from syncline.ledger.storable import dumps, storable

from .identities import Spec


def rows(spec: Spec, records: Iterable[RemoteRecord]) -> Iterator[tuple[str, str, str]]:
    return (row for record in records for row in spec.identities(record))


def take(scope: Scope, spec: Spec, records: Sequence[RemoteRecord], ids: Sequence[str], asked: dt.datetime) -> None:
    """Stores what these records bear now; what these ids no longer bear goes, but for what was stored since we asked."""
    store(scope, rows(spec, records))
    if ids:
        forget(scope, "remote_id = ANY(%s) AND property = ANY(%s) AND seen_at < %s", list(ids), spec.names, asked)


def outlive(scope: Scope, spec: Spec, ids: Sequence[str], age: float) -> None:
    """What these no longer bear goes, after what they do was stored; `age`: how many seconds ago they were asked for."""
    if spec.steps and ids:
        past = "seen_at < least(now(), statement_timestamp() - make_interval(secs => %s))"
        forget(scope, f"remote_id = ANY(%s) AND property = ANY(%s) AND {past}", list(ids), spec.names, age)


_STORE = """
INSERT INTO syncline_identityindex (connection_id, object_type, property, value, remote_id)
SELECT %s, %s, p, v, r
FROM ROWS FROM (json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s)) AS t (p, v, r)
ON CONFLICT (connection_id, object_type, property, value, remote_id) DO UPDATE SET seen_at = clock_timestamp()
"""


def store(scope: Scope, rows: Iterable[tuple[str, str, str]]) -> None:
    """In order, as everybody does who writes here: none waits for the other in a circle."""
    if distinct := sorted({(name, storable(value), remote_id) for name, value, remote_id in rows}):
        with connection.cursor() as cursor:
            cursor.execute(_STORE, [scope.connection_id, scope.object_type, *(dumps(c) for c in zip(*distinct, strict=True))])


def forget(scope: Scope, condition: str, *values: Any) -> None:
    """A row that somebody else is writing at this moment has been seen there, so it stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM syncline_identityindex WHERE id IN (SELECT id FROM syncline_identityindex"  # noqa: S608
            f" WHERE connection_id = %s AND object_type = %s AND {condition} FOR UPDATE SKIP LOCKED)",
            [scope.connection_id, scope.object_type, *values],
        )


def now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: dt.datetime = cursor.fetchone()[0]
    return found
