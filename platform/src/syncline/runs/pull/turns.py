"""One after the other: lots that might make the same new record.

Who stores a lot holds a lock for every identity that one of its unlinked records bears. It is taken before any row is locked, by
all in the same order, so that nobody waits for it with something in his hands that its holder needs; the looks for
counterparts come after it, and see what the one before has stored. It ends with the transaction.

The locks are those of a dataset, whatever account a record comes from: it is our records that would be doubled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Final

from django.db.backends.utils import CursorWrapper

from syncline.contract import RemoteRecord
from syncline.ledger.records import Scope

from .ground import Ground
from .work import Inflow

FEW: Final = 20
"""Identities for which a lot takes locks of their own; one with more takes the whole dataset, so that no lot has many locks."""

_ALL: Final = 0

_LINKED = "SELECT remote_id FROM syncline_link WHERE connection_id = %s AND object_type = %s AND remote_id = ANY(%s)"


def take(cursor: CursorWrapper, ground: Ground, records: Sequence[RemoteRecord]) -> frozenset[str]:
    """Ids of the records that had no link, and of which nobody else makes anything until the transaction ends."""
    linked = _linked(cursor, ground.flow.scope, [record.id for record in records])
    unlinked = [record for record in records if record.id not in linked]
    if unlinked:
        _lock(cursor, ground.flow.scope.dataset, sorted(set(_identities(ground.flow, ground.finder.strong, unlinked))))
    return frozenset(record.id for record in unlinked)


def _linked(cursor: CursorWrapper, scope: Scope, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    cursor.execute(_LINKED, [scope.connection_id, scope.object_type, list(ids)])
    return {row[0] for row in cursor.fetchall()}


def _identities(flow: Inflow, strong: Collection[int], records: Iterable[RemoteRecord]) -> Iterable[int]:
    scope = flow.scope
    for record in records:
        yield _number(f"{scope.connection_id} {scope.object_type} {record.id}")
        for step, value in flow.glances.of(record).values:
            if step in strong:
                yield _number(value)


def _lock(cursor: CursorWrapper, dataset: str, numbers: Sequence[int]) -> None:
    """Who takes few lets others do the same at once, but nobody who takes all."""
    if len(numbers) > FEW:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_number(dataset), _ALL])
        return
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [_number(dataset), _ALL])
    cursor.execute("SELECT pg_advisory_xact_lock(%s, n) FROM unnest(%s::int[]) AS n", [_number(dataset), list(numbers)])


def _number(text: str) -> int:
    """From 1 to 2³¹ - 1. Two texts that share a number only wait for each other."""
    return 1 + int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=4).digest(), "big") % 0x7FFFFFFF
