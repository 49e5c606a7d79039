"""Before the first record is sent: which of our records are new, and which records does the account hold already?

Match values of unlinked local records go to `Candidate` by COPY; the account's go to `IdentityIndex`, by listing it whole
or, where that takes fewer calls and the connector can answer for certain, by asking for just these values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from syncline.contract import Capability, MatchRule, MatchStep, ObjectType, Page, PullRequest, RemoteRecord, Session
from syncline.contract.normalise import NORMALISERS
from syncline.registry.facade import Connector
from syncline.runs import crash
from syncline.syncs.engine.compile import CompiledMapping

from .reader import BUSY, CHUNK, LINK_OF, Source

OWN_KEY = "=key"
"""Index property under which the values of our own unique property stand, whatever it is called remotely."""

WIDEST = 700
"""Characters of a match value that are compared."""

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


def prepare(work: Identifying, alive: Callable[[], None]) -> int:
    """Fills candidates and index; gives the number of records to be matched. Safe to repeat after a crash."""
    new = stage_candidates(work, alive)
    if new:
        refresh_index(work, alive)
        _analyse()
    crash.point("prepare.done")
    return new


def _analyse() -> None:
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
        if last is None:
            return busy
        busy += sum(row[-1] for row in rows)
        _copy_candidates(run_id, _values(work, rows))
        alive()
        after = last


def restage(work: Identifying, keys: Sequence[str]) -> None:
    """The candidates of these records as their values are now."""
    queryset = work.source.queryset().filter(**{f"{work.source.dataset.key_field}__in": list(keys)}).order_by()
    rows = list(work.source.values(queryset))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM syncline_candidate WHERE run_id = %s AND local_key = ANY(%s)", [work.source.run_id, list(keys)]
            )
        _copy_candidates(work.source.run_id, _values(work, rows))


def _values(work: Identifying, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, str, str]]:
    columns = work.source.columns
    for row in rows:
        values = dict(zip(columns, row, strict=False))
        for step, value in work.mapping.match_values(values):
            yield step, value[:WIDEST], str(row[0])


def _copy_candidates(run_id: int, rows: Iterable[tuple[int, str, str]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY syncline_candidate (run_id, step, value, local_key) FROM STDIN") as copy,
    ):
        for step, value, key in rows:
            copy.write_row((run_id, step, value, key))


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


def refresh_index(work: Identifying, alive: Callable[[], None]) -> None:
    if _asking_is_cheaper(work):
        _ask(work, alive)
    elif Capability.PULL in work.connector.info.capabilities:
        _list(work, alive)


def _asking_is_cheaper(work: Identifying) -> bool:
    steps, count = work.rule.steps, work.object_type.count
    if Capability.MATCH not in work.connector.info.capabilities or not steps or any(s.only_if_unique for s in steps):
        return False
    if not set(_match_offers(work)) >= {s.property for s in steps}:
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum((n + 99) / 100), 0) FROM (SELECT count(DISTINCT value) AS n FROM syncline_candidate"
            " WHERE run_id = %s GROUP BY step) q",
            [work.source.run_id],
        )
        asking = int(cursor.fetchone()[0])
    listing = float("inf") if count is None else max(1, -(-count // work.object_type.page_size))
    return asking < listing


def _match_offers(work: Identifying) -> Sequence[str]:
    """Properties by which the connector can find records for certain."""
    return [p.name for p in work.object_type.properties if p.unique]


def _ask(work: Identifying, alive: Callable[[], None]) -> None:
    """What answers to these values no longer is forgotten: somebody changed it there, or deleted it."""
    for number, step in enumerate(work.rule.steps):
        for values in _distinct_values(work.source.run_id, number):
            started = _now()
            found = work.connector.call.match(
                session=work.session, object_type=work.object_type, step=step.property, values=values
            )
            _store(work, ((step.property, value, remote) for value, ids in found.items() for remote in ids))
            _forget(work, "property = %s AND value = ANY(%s) AND seen_at < %s", step.property, values, started)
            alive()
            crash.point("prepare.page")


def _distinct_values(run_id: int, step: int, size: int = 100) -> Iterator[list[str]]:
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT value FROM syncline_candidate WHERE run_id = %s AND step = %s AND value > %s"
                " ORDER BY value LIMIT %s",
                [run_id, step, after, size],
            )
            values = [row[0] for row in cursor.fetchall()]
        if not values:
            return
        yield values
        after = values[-1]


def _list(work: Identifying, alive: Callable[[], None]) -> None:
    """The whole object, page by page; what was not seen again has gone.

    What another active run has seen since it was started stays: it may match by other properties and still need them.
    """
    started = _now()
    pages: Iterator[Page] = work.connector.call.pull(
        session=work.session, object_type=work.object_type, request=PullRequest(properties=identifying_properties(work))
    )
    for page in pages:
        _store(work, (row for record in page.records for row in identities(work, record)))
        alive()
        crash.point("prepare.page")
    scope = work.source.scope
    _forget(work, f"seen_at < least(%s, ({_OTHERS_BEGAN}))", started, scope.connection_id, scope.object_type, work.source.run_id)


_OTHERS_BEGAN = """SELECT min(r.started_at) FROM syncline_run r JOIN syncline_sync s ON s.id = r.sync_id
    WHERE s.connection_id = %s AND s.object_type = %s AND r.state = 'running' AND r.id <> %s"""


def _now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        found: dt.datetime = cursor.fetchone()[0]
    return found


def _forget(work: Identifying, condition: str, *values: Any) -> None:
    scope = work.source.scope
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM syncline_identityindex WHERE connection_id = %s AND object_type = %s AND {condition}",  # noqa: S608
            [scope.connection_id, scope.object_type, *values],
        )


def identifying_properties(work: Identifying) -> tuple[str, ...]:
    known = {p.name for p in work.object_type.properties}
    wanted = [name for step in work.rule.steps for name in (step.property, *step.also) if name in known]
    if work.object_type.unique_key:
        wanted.append(work.object_type.unique_key)
    return tuple(dict.fromkeys(wanted))


def identities(work: Identifying, record: RemoteRecord) -> Iterator[tuple[str, str, str]]:
    """(index property, normalised value, remote id) of one remote record."""
    key = work.object_type.unique_key
    if key and (own := record.properties.get(key)):
        yield OWN_KEY, str(own), record.id
    for step in work.rule.steps:
        for value in step_values(step, record):
            yield step.property, value, record.id


def step_values(step: MatchStep, record: RemoteRecord) -> set[str]:
    normalise = NORMALISERS[step.normalise]
    pieces = list(_pieces(record.properties.get(step.property), several=False))
    for name in step.also:
        pieces += _pieces(record.properties.get(name))
    return {value for piece in pieces if (value := normalise(piece)[:WIDEST])}


def _pieces(value: Any, *, several: bool = True) -> Sequence[str]:
    """Additional domains and e-mails come as sets, or as one text with semicolons; in a name a semicolon is a character."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    return str(value).split(";") if several else (str(value),)


def _store(work: Identifying, rows: Iterable[tuple[str, str, str]]) -> None:
    distinct = sorted(set(rows))
    if not distinct:
        return
    scope = work.source.scope
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO syncline_identityindex (connection_id, object_type, property, value, remote_id)"
            " SELECT %s, %s, p, v, r FROM unnest(%s::text[], %s::text[], %s::text[]) AS t (p, v, r)"
            " ON CONFLICT (connection_id, object_type, property, value, remote_id) DO UPDATE SET seen_at = clock_timestamp()",
            [scope.connection_id, scope.object_type, *(list(c) for c in zip(*distinct, strict=True))],
        )
