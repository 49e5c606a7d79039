"""Statements that every delivery needs, planned once for each connection instead of once for each delivery."""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

ONLY_WHEN_ASKED: Final = 2**31  # repetitions after which psycopg prepares by itself; Django's None would forbid it altogether


def row(sql: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row of what the statement gives; Django's database errors."""
    found = rows(sql, values)
    return found[0] if found else None


def rows(sql: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    held = connections[DEFAULT_DB_ALIAS]
    raw = _connected(held)
    behind_pooler = held.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    raw.prepare_threshold = None if behind_pooler else ONLY_WHEN_ASKED
    with held.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        return cursor.execute(sql.encode(), values, prepare=True).fetchall()


def _connected(held: Any) -> psycopg.Connection[Any]:
    """As after Django's health check, but that costs a question to the server only when its line has something to tell."""
    if held.connection is not None and not held.health_check_done and _silent(held.connection):
        held.health_check_done = True
    held.close_if_health_check_failed()
    held.ensure_connection()
    raw: psycopg.Connection[Any] = held.connection
    return raw


def _silent(raw: psycopg.Connection[Any]) -> bool:
    """A server that went away, or ended this connection, has left at least the end of the line to be read."""
    if raw.closed:
        return False
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return not poll.poll(0)
