"""A fast reader of `timestamptz` for every database connection.

Django reads these with a Python loader built on a regular expression: 4.2 µs a value, the largest single cost of
reading a dataset. `datetime.fromisoformat` takes 0.5 µs. PostgreSQL is asked for UTC by Django, so the text always
carries its offset.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.backends.signals import connection_created
from psycopg.adapt import Buffer, Loader


class TimestamptzLoader(Loader):
    """ISO text to an aware datetime in UTC."""

    timezone = UTC  # Django's cursors compare this attribute with their own time zone

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(bytes(data).decode("ascii"))


def use_fast_loader(connection: Any, **_signal: object) -> None:
    if connection.vendor == "postgresql":
        connection.connection.adapters.register_loader("timestamptz", TimestamptzLoader)


def install() -> None:
    connection_created.connect(use_fast_loader, dispatch_uid="syncline.pgloaders")
