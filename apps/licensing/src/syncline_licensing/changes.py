"""What changed since, for those who keep a copy: no change is passed over, whatever order transactions end in."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.db import connection

#: Numbers of transactions and rows are below 2⁶³.
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)

_SINCE: Final = """
SELECT h.tx, h.id, c.salesforce_id, s.code, h.active, h.at, h.event
FROM licensing_licensechange h JOIN licensing_customer c ON c.id = h.customer_id LEFT JOIN licensing_sku s ON s.id = h.sku_id
WHERE (h.tx, h.id) > (%s, %s) AND h.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY h.tx, h.id LIMIT %s
"""

#: A dump that is restored elsewhere has rows of transactions that are yet to come there.
_SETTLE: Final = """
UPDATE licensing_licensechange SET tx = 0 WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""


class Cursor(NamedTuple):
    """After this change. Its text is for those who come back with it, and tells them nothing."""

    tx: int = 0
    id: int = 0

    def __str__(self) -> str:
        return f"{self.tx}-{self.id}"


class NoCursor(Exception):
    """The text is no cursor of ours."""


class OtherDatabase(Exception):
    """The cursor is from a database that this one was before it was restored."""


@dataclass(frozen=True, slots=True)
class Changed:
    """`sku`: None when the terms were signed, or hold no more."""

    cursor: Cursor
    customer: str
    sku: str | None
    active: bool
    at: dt.datetime
    event: str


def read_cursor(text: str) -> Cursor:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise NoCursor
    return Cursor(int(found[1]), int(found[2]))


def since(cursor: Cursor, most: int) -> Sequence[Changed]:
    """At most so many, the oldest first. Those of transactions that still run, or ended after one that does, come later."""
    with connection.cursor() as database:
        _check(database, cursor)
        database.execute(_SINCE, [*cursor, most])
        return [Changed(Cursor(tx, key), *rest) for tx, key, *rest in database.fetchall()]


def _check(database: Any, cursor: Cursor) -> None:
    database.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    if cursor.tx >= database.fetchone()[0]:
        raise OtherDatabase


def settle() -> int:
    """After a restore: what was there before comes before everything that follows. Gives how many changes it were."""
    with connection.cursor() as database:
        database.execute(_SETTLE)
        return int(database.rowcount)
