"""Reads a dataset joined with its links, in keyset chunks; PostgreSQL leaves out the rows about which nothing changed.

A row is left out when the hash of all its mapped fields equals the link's `source_hash` and the link is settled. The seed
of the hash stands for the mapping version and the property definitions, so that a change of either reads everything again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection

from syncline.contract import ConfigError, Dataset
from syncline.ledger.models import Link
from syncline.ledger.records import Scope

CHUNK = 2000
RECHECK = "1 day"
KEY_WIDTH = 100
ON_ITS_WAY = -1.0


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as it was read together with its row.

    `uncertain_seconds`: since its write ended without an answer; negative while it may still be on its way, by another worker.
    `stale`: last looked at more than a day ago. `seen`: this run has already counted it.
    `seen_there`: the link's fingerprints of what the remote record had when both sides last agreed.
    """

    remote_id: str | None
    state: str
    revision: int
    delivered: Mapping[str, str]
    associations: Mapping[str, list[str]]
    source_hash: int | None
    refused_digest: str
    uncertain_op: str
    uncertain_seconds: float
    stale: bool
    seen: bool
    code: str = ""
    reason: str = ""
    seen_there: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """`hash` is what the link's source_hash becomes once everything about the row is settled."""

    key: str
    values: Mapping[str, Any]
    hash: int
    link: LinkState | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that need work, how many did not by state, and the last key read (None: nothing left)."""

    rows: Sequence[Row]
    quiet: Counter[str]
    read: int
    last: str | None


@dataclass(frozen=True)
class Source:
    """What a run reads. `seed`: see the module. `force`: problems are looked at again whenever they were."""

    dataset: Dataset
    fields: tuple[str, ...]
    scope: Scope
    segment: str
    owner: AbstractBaseUser | None
    seed: int
    run_id: int
    force: bool = False

    def changed(self, keys: Sequence[str]) -> dict[str, dt.datetime]:
        """When these records were changed last, where the dataset tells."""
        field, name = self.dataset.key_field, self.dataset.info.modified
        if not name or not keys:
            return {}
        rows = self.dataset.rows((name,), "").filter(**{f"{field}__in": list(keys)}).values_list(field, name)
        return {str(key): moment for key, moment in rows if moment is not None}

    def queryset(self) -> Any:
        return self.dataset.rows(self.fields, self.segment, self.owner)

    def values(self, queryset: Any) -> Any:
        names = [n for n in self.fields if n != self.dataset.key_field]
        return queryset.values_list(self.dataset.key_field, *names)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.dataset.key_field, *(n for n in self.fields if n != self.dataset.key_field))


# A settled problem is looked at again when its row changed, once a day, or when a person asks.
BUSY = f"""(
    l.id IS NULL OR l.state IN ('pending', 'uncertain', 'waiting')
    OR l.state IN ('delivered', 'rejected', 'ambiguous', 'excluded') AND l.source_hash IS DISTINCT FROM {{hash}}
    OR l.state NOT IN ('delivered', 'excluded') AND l.last_run_id IS DISTINCT FROM %s
       AND (%s OR l.checked_at < now() - interval '{RECHECK}')
)"""

# OFFSET 0 keeps it a look-up by the unique index for each row: without fresh statistics the planner would rather compare
# every row with every link.
LINK_OF = """SELECT * FROM syncline_link k
    WHERE k.connection_id = %s AND k.object_type = %s AND k.dataset = %s AND k.local_key = {key}::text OFFSET 0"""

_CHUNK = """
WITH src AS MATERIALIZED (
    SELECT s.*, hash_record_extended(s, %s) AS hash_ FROM ({query}) AS s ({columns})
), joined AS MATERIALIZED (
    SELECT src.*, l.id AS link_id_, l.remote_id AS remote_id_, l.state AS state_, l.revision AS revision_,
           l.delivered AS delivered_, l.associations AS associations_, l.source_hash AS source_hash_,
           l.refused_digest AS refused_, l.uncertain_op AS doubt_, extract(epoch FROM now() - l.uncertain_at)::float AS seconds_,
           l.last_run_id IS DISTINCT FROM %s AS old_, l.code AS code_, l.reason AS reason_, {busy} AS busy_,
           coalesce(l.checked_at < now() - interval '{recheck}', false) AS stale_, l.seen AS seen_
    FROM src LEFT JOIN LATERAL ({link}) l ON true
), summary AS (
    SELECT (SELECT j.c0::text FROM joined j ORDER BY j.c0 DESC LIMIT 1) AS last_, (SELECT count(*) FROM joined) AS read_,
           (SELECT coalesce(jsonb_object_agg(state_, n), '{{}}') FROM
               (SELECT state_, count(*) AS n FROM joined WHERE NOT busy_ AND old_ GROUP BY state_) q) AS quiet_
)
SELECT summary.last_, summary.read_, summary.quiet_::text, joined.*
FROM summary LEFT JOIN joined ON joined.busy_ ORDER BY joined.c0
"""


def chunks(source: Source, *, after: str = "", until: str = "", size: int = CHUNK, first: int | None = None) -> Iterator[Chunk]:
    """All rows after a key, up to and including another; `first`: at most so many to begin with."""
    now = min(size, first or size)
    while True:
        chunk = _read(source, _range(source, after, until, now))
        if chunk.last is None:
            return
        yield chunk
        if chunk.read < now:  # that saves one more look, and a key that is an empty text would lead back to the start
            return
        after, now = chunk.last, size


def key_of(source: Source, value: object) -> str:
    """The local key of a row; ConfigError when the ledger has no room for it."""
    key = str(value)
    if len(key) > KEY_WIDTH:
        raise ConfigError(
            f"{source.dataset.info.key} has a record whose key is {len(key)} characters long, {KEY_WIDTH} fit: {key[:40]}…"
            " Use a shorter column as key_field of the dataset."
        )
    return key


def key_at(source: Source, number: int, *, after: str = "", until: str = "") -> str:
    """The key of the n-th row of a range, "" when there are no more rows behind it."""
    field = source.dataset.key_field
    keys = _bounded(source.dataset.rows((), source.segment, source.owner), field, after, until)
    found = list(keys.order_by(field).values_list(field, flat=True)[number - 1 : number + 1])
    return str(found[0]) if len(found) == 2 else ""


def chosen(source: Source, keys: Sequence[str], size: int = CHUNK, *, skip: int = 0) -> Iterator[Chunk]:
    """The rows with these keys, as far as they (still) exist; `last` is how many of the keys were read, to be skipped then."""
    for start in range(skip, len(keys), size):
        some = list(keys[start : start + size])
        chunk = _read(source, source.queryset().filter(**{f"{source.dataset.key_field}__in": some}).order_by())
        yield replace(chunk, last=str(start + len(some)))


def _range(source: Source, after: str, until: str, size: int) -> Any:
    field = source.dataset.key_field
    return _bounded(source.queryset(), field, after, until).order_by(field)[:size]


def _bounded(queryset: Any, field: str, after: str, until: str) -> Any:
    if after:
        queryset = queryset.filter(**{f"{field}__gt": after})
    return queryset.filter(**{f"{field}__lte": until}) if until else queryset


def _read(source: Source, queryset: Any) -> Chunk:
    query, params = source.values(queryset).query.sql_with_params()
    columns = ", ".join(f"c{i}" for i in range(len(source.columns)))
    sql = _CHUNK.format(
        query=query, columns=columns, busy=BUSY.format(hash="src.hash_"), recheck=RECHECK, link=LINK_OF.format(key="src.c0")
    )
    scope = source.scope
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            [
                source.seed,
                *params,
                source.run_id,
                source.run_id,
                source.force,
                scope.connection_id,
                scope.object_type,
                scope.dataset,
            ],
        )
        rows = cursor.fetchall()
    last, read, quiet = rows[0][:3]
    width = len(source.columns)
    return Chunk(
        rows=[_row(source, r[3 : 3 + width], r[3 + width :]) for r in rows if r[3] is not None],
        quiet=Counter(orjson.loads(quiet)),
        read=read,
        last=last,
    )


def _row(source: Source, values: Sequence[Any], rest: Sequence[Any]) -> Row:
    hash_, link_id, *link = rest
    return Row(key_of(source, values[0]), dict(zip(source.columns, values, strict=True)), hash_, _link(link) if link_id else None)


def _link(values: Sequence[Any]) -> LinkState:
    remote_id, state, revision, delivered, associations, source_hash, refused, doubt, seconds, old, code, reason, *rest = values
    _busy, stale, seen = rest
    return LinkState(
        remote_id,
        state,
        revision,
        _json(delivered),
        _json(associations),
        source_hash,
        refused,
        doubt,
        ON_ITS_WAY if seconds is None and state == Link.State.UNCERTAIN else seconds or 0.0,
        stale,
        not old,
        code,
        reason,
        _json(seen),
    )


def _json(value: Any) -> Any:
    """Django's own cursors give jsonb as text."""
    return orjson.loads(value) if isinstance(value, str) else value
