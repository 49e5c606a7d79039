"""Before the first record is sent: which of our records are new, and which records does the account hold already?

Match values of unlinked local records go to `Candidate` by COPY; what the account holds is in the identity index, which is
brought up to date only when there are such records (see `index`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from syncline.contract import MatchRule, ObjectType, Session
from syncline.registry.facade import Connector
from syncline.syncs.engine.compile import CompiledMapping

from . import index
from .identities import WIDEST
from .reader import BUSY, CHUNK, LINK_OF, Source, key_of

_NEW = """
SELECT s.*, {busy} AS busy_ FROM ({query}) AS s ({columns})
LEFT JOIN LATERAL ({link}) l ON true
WHERE l.remote_id IS NULL AND (l.id IS NULL OR l.state <> 'excluded' OR {busy})
"""


@dataclass(frozen=True)
class Identifying:
    """What a run needs to find out who is who."""

    connector: Connector
    session: Session
    object_type: ObjectType
    mapping: CompiledMapping
    rule: MatchRule
    source: Source

    @property
    def account(self) -> index.Account:
        return index.Account(self.connector, self.session, self.object_type, self.rule, self.source.scope, self.source.run_id)


def prepare(work: Identifying, alive: Callable[[], None], looked_up: Callable[[int], bool] = bool) -> int:
    """Fills candidates and index; gives the number of records to be matched. Safe to repeat after a crash.

    `looked_up`: whether so many are matched here at all, and not by the vendor.
    """
    new = stage_candidates(work, alive)
    if new:
        if looked_up(new):
            index.refresh(work.account, alive)
        analyse()
    return new


def prepare_first(work: Identifying, alive: Callable[[], None]) -> int:
    """The same when nothing is linked yet: whatever is found here, the index will be needed, and both go on at once."""
    with index.listed_ahead(work.account, alive) as listed:
        new = stage_candidates(work, alive)
    if new and not listed:
        index.refresh(work.account, alive)
    analyse()
    return new


def analyse() -> None:
    """Freshly filled tables have no statistics yet: without them the look-ups would scan whole tables."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE syncline_candidate, syncline_identityindex, syncline_link")


def stage_candidates(work: Identifying, alive: Callable[[], None]) -> int:
    """Gives how many unlinked records need work; when there are some, all unlinked ones are staged."""
    run_id = work.source.run_id
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM syncline_candidate WHERE run_id = %s", [run_id])
    busy, after = 0, ""
    while True:
        rows, last = _unlinked(work.source, after)
        busy += sum(bool(row[-1]) for row in rows)
        _copy_candidates(run_id, _values(work, rows))
        alive()
        if not last:  # nothing was left, or just the record whose key is an empty text, which is no cursor
            return busy
        after = last


def look_up(work: Identifying, keys: Sequence[str], alive: Callable[[], None]) -> None:
    """The same for these records only, for whom somebody waits."""
    restage(work, keys)
    index.refresh(work.account, alive, quick=True)


def restage(work: Identifying, keys: Sequence[str]) -> None:
    """The candidates of these records as their values are now."""
    queryset = work.source.queryset().filter(**{f"{work.source.dataset.key_field}__in": list(keys)}).order_by()
    rows = [(*row, True) for row in work.source.values(queryset)]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM syncline_candidate WHERE run_id = %s AND local_key = ANY(%s)", [work.source.run_id, list(keys)]
            )
        _copy_candidates(work.source.run_id, _values(work, rows))


Staged = tuple[int, str, str, bool]


def _values(work: Identifying, rows: Iterable[Sequence[Any]]) -> Iterator[Staged]:
    """Step, value, local key and whether the record needs work, from rows that end with that flag."""
    columns = work.source.columns
    for row in rows:
        values = dict(zip(columns, row, strict=False))
        for step, value in work.mapping.match_values(values):
            yield step, value[:WIDEST], key_of(work.source, row[0]), row[-1]


def _copy_candidates(run_id: int, rows: Iterable[Staged]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY syncline_candidate (run_id, step, value, local_key, busy) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row((run_id, *row))


def _unlinked(source: Source, after: str) -> tuple[list[Sequence[Any]], str | None]:
    """One chunk of unlinked rows with their `busy` flag, and the last key of the chunk read."""
    field = source.dataset.key_field
    queryset = source.queryset()
    if after:
        queryset = queryset.filter(**{f"{field}__gt": after})
    keys = list(queryset.order_by(field).values_list(field, flat=True)[: 2 * CHUNK])
    if not keys:
        return [], None
    chunk = source.queryset().filter(**{f"{field}__gte": keys[0], f"{field}__lte": keys[-1]})
    query, params = source.values(chunk).query.sql_with_params()
    busy = BUSY.format(hash="hash_record_extended(s, %s)")
    columns = ", ".join(f"c{i}" for i in range(len(source.columns)))
    scope, flags = source.scope, [source.seed, source.run_id, source.force]
    with connection.cursor() as cursor:
        cursor.execute(
            _NEW.format(busy=busy, query=query, columns=columns, link=LINK_OF.format(key="s.c0")),
            [*flags, *params, scope.connection_id, scope.object_type, scope.dataset, *flags],
        )
        return cursor.fetchall(), str(keys[-1])
