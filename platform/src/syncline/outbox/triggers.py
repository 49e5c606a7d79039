"""What a watched table's triggers do, as SQL. Pure.

One function per table, told apart by the statement's kind, and four triggers that call it once per statement. The subscribers
stand in the function itself: a transaction that began before a subscription must see it too.
"""

# ruff: noqa: S608 - every name is quoted, and they come from apps

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from syncline.contract import Dependency, Hop

PREFIX: Final = "syncline_watch_"
ORIGIN: Final = "syncline.origin"
"""Session setting: id of the sync on whose behalf something is written here; it is not told about it."""

EVENTS: Final = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


@dataclass(frozen=True, slots=True)
class Feed:
    """Syncs to be told about the records that a changed row concerns. `identity`: columns of the table's primary key."""

    dependency: Dependency
    syncs: tuple[int, ...]
    identity: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watch:
    """What is done about one table."""

    table: str
    feeds: tuple[Feed, ...]

    @property
    def name(self) -> str:
        """Of the function: readable, within PostgreSQL's 63 bytes, one for each table."""
        plain = PREFIX + self.table
        return plain if len(plain.encode()) <= 63 else f"{PREFIX}{self.table[:30]}_{_digest(self.table)[:12]}"

    @property
    def syncs(self) -> tuple[int, ...]:
        return tuple(sorted({sync for feed in self.feeds for sync in feed.syncs}))

    @property
    def stamp(self) -> str:
        """Kept as the function's comment: what it does, and for each sync what it is told."""
        told = {str(s): _digest(repr([f.dependency for f in self.feeds if s in f.syncs])) for s in self.syncs}
        return json.dumps({"does": _digest(self.body()), "syncs": told}, sort_keys=True)

    def body(self) -> str:
        blocks = {event: self._tell(event) for event in ("insert", "update", "delete")}
        return _BODY.format(table=_text(self.table), syncs=_array(self.syncs), **blocks)

    def _tell(self, event: str) -> str:
        """One INSERT for each set of syncs, so that a record is named once for each."""
        by_syncs: dict[tuple[int, ...], list[str]] = {}
        for feed in self.feeds:
            by_syncs.setdefault(feed.syncs, []).append(keys(feed, event))
        return "\n".join(
            _TELL.format(keys="\n        UNION ALL ".join(selects), syncs=_array(syncs)) for syncs, selects in by_syncs.items()
        )


def keys(feed: Feed, event: str) -> str:
    """A SELECT of one column, the local keys as text."""
    query, hops = _start(feed, event), feed.dependency.through
    return f"SELECT {_last(hops)}::text FROM ({query}) AS q0 (v){''.join(_hop(n, hop) for n, hop in enumerate(hops, 1))}"


def _start(feed: Feed, event: str) -> str:
    value = quoted(feed.dependency.column)
    if event == "insert":
        return f"SELECT DISTINCT {value} FROM new_rows"
    if event == "delete":
        return f"SELECT DISTINCT {value} FROM old_rows"
    if not feed.dependency.columns:
        return f"SELECT {value} FROM old_rows UNION SELECT {value} FROM new_rows"
    # as text: not every type can be compared
    compared = ", ".join(f"{quoted(c)}::text" for c in (*feed.identity, *feed.dependency.columns))
    old, new = (f"SELECT {value}, {compared} FROM {rows}_rows" for rows in ("old", "new"))
    count = len(feed.identity) + len(feed.dependency.columns)
    names = ", ".join(f"c{n}" for n in range(count))
    return f"SELECT DISTINCT v FROM (({old} EXCEPT ALL {new}) UNION ALL ({new} EXCEPT ALL {old})) AS d (v, {names})"


def _hop(number: int, hop: Hop) -> str:
    """OFFSET 0 keeps it a look-up for each value: a plan made for many rows is kept, and would scan the table for one."""
    table, column, take = quoted(hop.table), quoted(hop.column), quoted(hop.take)
    return f" CROSS JOIN LATERAL (SELECT t.{take} FROM {table} t WHERE t.{column} = q{number - 1}.v OFFSET 0) AS q{number} (v)"


def _last(hops: Sequence[Hop]) -> str:
    return f"q{len(hops)}.v"


def function_sql(watch: Watch, schema: str) -> str:
    """With the rights of who installs it: whoever may write to the table need not be allowed to write to the outbox."""
    return (
        f"CREATE OR REPLACE FUNCTION {quoted(watch.name)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" SET search_path = {quoted(schema)}, pg_temp AS $syncline${watch.body()}$syncline$"
    )


def trigger_sql(watch: Watch, event: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER {PREFIX}{event} AFTER {event.upper()} ON {quoted(watch.table)} {EVENTS[event]}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {quoted(watch.name)}()"
    )


def stamped(comment: str | None) -> Mapping[str, str]:
    """Sync → digest of what it is told, of an installed function; none when it says nothing we can read."""
    try:
        told = json.loads(comment or "{}").get("syncs", {})
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _array(syncs: Sequence[int]) -> str:
    return "'{" + ",".join(map(str, syncs)) + "}'::bigint[]"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


_TELL: Final = """
      INSERT INTO syncline_outboxkey (sync_id, local_key)
      SELECT s.id, k.key FROM (SELECT DISTINCT u.key FROM (
        {keys}
      ) AS u (key)) AS k CROSS JOIN unnest({syncs}) AS s (id)
      WHERE k.key IS NOT NULL AND s.id::text IS DISTINCT FROM origin;"""

# The app's write does not fail because of us. When its tables are not what the dataset says (a column was dropped), every
# subscriber is told to look at everything instead; when there is no outbox any more, nobody subscribes any more.
_BODY: Final = """
DECLARE
  origin text := current_setting('syncline.origin', true);
BEGIN
  BEGIN
    IF TG_OP = 'INSERT' THEN{insert}
    ELSIF TG_OP = 'UPDATE' THEN{update}
    ELSIF TG_OP = 'DELETE' THEN{delete}
    ELSE
      INSERT INTO syncline_outboxkey (sync_id, local_key)
      SELECT s.id, '' FROM unnest({syncs}) AS s (id) WHERE s.id::text IS DISTINCT FROM origin;
    END IF;
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported THEN
    RAISE WARNING 'Syncline cannot tell which records a change of % concerns (%); a full pass will be made.', {table}, SQLERRM;
    BEGIN
      INSERT INTO syncline_outboxkey (sync_id, local_key) SELECT s.id, '' FROM unnest({syncs}) AS s (id);
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
      RAISE WARNING 'Syncline has no outbox any more; drop the triggers syncline_watch_* of %.', {table};
    END;
  END;
  RETURN NULL;
END"""
