"""Statements that every delivery needs, planned once for each connection instead of once for each delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from django.db import connection


def row(sql: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row of what the statement gives; Django's database errors."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(sql.encode(), values, prepare=True).fetchone()
