"""Keeps the triggers as the subscriptions want them: installed while somebody watches, and no longer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import DatasetInfo, Dependency, SynclineError
from syncline.registry import dataset, datasets
from syncline.syncs.engine.content import MappingContent
from syncline.syncs.engine.expressions import Expression
from syncline.syncs.models import MappingVersion, Sync

from . import triggers
from .models import OutboxKey
from .triggers import Feed, Watch
from .wanted import WANTS, asked_for, wanting

log = logging.getLogger("syncline.outbox")

LOCK: Final = 0x73796E6F  # of whoever changes the triggers
_FORGET: Final = f"""
DELETE FROM syncline_outboxkey o WHERE NOT EXISTS (SELECT 1 FROM syncline_sync s WHERE s.id = o.sync_id AND {WANTS})
"""  # noqa: S608 - of constants

INSERT_EVERYTHING: Final = """
INSERT INTO syncline_outboxkey (sync_id, local_key) SELECT s.id, '' FROM unnest(%s::bigint[]) AS s (id)
"""


@dataclass(frozen=True, slots=True)
class Table:
    columns: frozenset[str]
    identity: tuple[str, ...]


@dataclass
class Wanted:
    """`broken`: sync → why some of its changes cannot be seen."""

    watches: dict[str, Watch] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)


def watching() -> list[Sync]:
    """Syncs that want to know what changes here."""
    return list(wanting().select_related("current").order_by("pk"))


def reconcile() -> bool:
    """Installs and removes what the subscriptions ask for, table by table; False when a table was too busy: try again.

    Whoever begins to watch a table is due a full pass: taking the table's lock has waited for every earlier write, which
    that pass sees, and every later one is noted.
    """
    if not _migrated():
        return True
    plan = wanted(watching())
    done = _adjust(plan.watches)
    _complain(plan.broken)
    if done:
        _forget()
    return done


def _forget() -> None:
    """Keys for whom nobody watches any more. By what is so now, and only when the triggers are as they should be: else who
    begins again in this moment would miss what was noted meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET)


def _adjust(watches: Mapping[str, Watch]) -> bool:
    there = installed()
    names = {watch.name for watch in watches.values()}
    late = [w for w in watches.values() if not (there.get(w.name) or NOTHING).fits(w)]
    done = [_patiently(_install, watch) for watch in late]
    done += [_patiently(_remove, name) for name in there if name not in names]
    return all(done)


def wanted(syncs: Iterable[Sync]) -> Wanted:
    """One watch for each table that matters to one of these syncs."""
    concerned: dict[Dependency, list[int]] = {}
    result = Wanted()
    for sync in syncs:
        for dependency in dependencies(sync):
            concerned.setdefault(dependency, []).append(sync.pk)
    tables = _tables({name for d in concerned for name in (d.table, *(h.table for h in d.through))})
    feeds: dict[str, list[Feed]] = {}
    for dependency, ids in concerned.items():
        if reason := missing(dependency, {name: t.columns for name, t in tables.items()}):
            result.broken |= dict.fromkeys(ids, reason)
        else:
            feed = Feed(dependency, tuple(ids), tables[dependency.table].identity)
            feeds.setdefault(dependency.table, []).append(feed)
    result.watches = {table: Watch(table, tuple(some)) for table, some in sorted(feeds.items())}
    return result


def dependencies(sync: Sync) -> Sequence[Dependency]:
    """Those that matter to what the sync's current mapping reads; none when its dataset is gone."""
    try:
        source = dataset(sync.dataset)
    except SynclineError:
        return ()
    version = sync.current
    if version is None:
        return ()
    fields = _fields(version, source.info)
    segment = str(version.content["segment"])
    return [d for d in source.depends_on if d.concerns(fields, segment)]


def _fields(version: MappingVersion, info: DatasetInfo) -> frozenset[str] | None:
    return _read_by(tuple(f.name for f in info.fields), json.dumps(version.content, sort_keys=True))


@lru_cache(maxsize=256)
def _read_by(names: tuple[str, ...], raw: str) -> frozenset[str] | None:
    """Dataset fields that the mapping reads; None when one of its expressions cannot be read."""
    content = MappingContent.from_json(json.loads(raw))
    needed = {rule.source for rule in content.rules if rule.source}
    try:
        for text in (content.filter, *(rule.expression for rule in content.rules)):
            needed |= set(Expression(text, names).needs) if text else set()
    except ValueError:
        return None
    return frozenset(needed)


def missing(dependency: Dependency, columns: Mapping[str, frozenset[str]]) -> str:
    """What of it there is not, as a sentence; "" when everything is there."""
    needs = [(dependency.table, (dependency.column, *dependency.columns))]
    needs += [(hop.table, (hop.column, hop.take)) for hop in dependency.through]
    for table, names in needs:
        if table not in columns:
            return f"There is no table {table}."
        if absent := [name for name in names if name not in columns[table]]:
            return f"The table {table} has no column {', '.join(absent)}."
    return ""


MANY: Final = 10_000


def told(sync: Sync) -> str:
    """For the sync's page: whether changes are watched and how many wait; "" when nobody asked for it."""
    if not asked_for(sync):
        return ""
    if not (sync.enabled and sync.current_id):
        return "watched once the sync is switched on and published"
    if not dependencies(sync):
        return "not watched: its dataset does not say what it depends on"
    waiting = set(OutboxKey.objects.filter(sync=sync).values_list("local_key", flat=True)[:MANY])
    there = installed()
    if not all((there.get(w.name) or NOTHING).fits(w) for w in wanted(watching()).watches.values() if sync.pk in w.syncs):
        return "watched in a few seconds: its triggers are being set up"
    if OutboxKey.objects.filter(sync=sync, local_key="").exists():
        return "watched; a full pass is due and comes next"
    number = f"{MANY:,} or more" if len(waiting) == MANY else f"{len(waiting):,}"
    how = " at once" if sync.at_once else ""
    return f"watched; {number} record{'' if len(waiting) == 1 else 's'} wait{'s' if len(waiting) == 1 else ''} to be pushed{how}"


def _complain(broken: Mapping[int, str]) -> None:
    """Where admins look first: on the sync, in its list and on the overview."""
    for sync_id, reason in broken.items():
        text = (
            f"Some changes here cannot be seen: {reason} The app's dataset names it in depends_on; correct the app."
            " Until then only full runs see them."
        )
        if Sync.objects.filter(pk=sync_id).exclude(blocked_reason=text).update(blocked_reason=text):
            log.error("Sync %s: %s", sync_id, text)


@dataclass(frozen=True, slots=True)
class Installed:
    """A function of ours: its stamp, and the trigger events it answers by table."""

    stamp: str
    events: Mapping[str, frozenset[str]]

    def fits(self, watch: Watch) -> bool:
        return self.stamp == watch.stamp and self.events.get(watch.table) == frozenset(triggers.EVENTS)


NOTHING: Final = Installed("", {})

_INSTALLED: Final = """
SELECT p.proname, coalesce(obj_description(p.oid, 'pg_proc'), ''), t.tgrelid::regclass::text, t.tgname
FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgenabled <> 'D'
WHERE p.pronamespace = current_schema()::regnamespace AND starts_with(p.proname, %s)
"""


def installed() -> dict[str, Installed]:
    """Functions of ours in the database, by name."""
    with connection.cursor() as cursor:
        cursor.execute(_INSTALLED, [triggers.PREFIX])
        rows = cursor.fetchall()
    found: dict[str, tuple[str, dict[str, set[str]]]] = {}
    for name, stamp, table, trigger in rows:
        _, events = found.setdefault(name, (stamp, {}))
        if table:
            events.setdefault(table.strip('"'), set()).add(trigger.removeprefix(triggers.PREFIX))
    return {name: Installed(stamp, {t: frozenset(some) for t, some in events.items()}) for name, (stamp, events) in found.items()}


def _install(cursor: CursorWrapper, watch: Watch) -> None:
    cursor.execute(f"LOCK TABLE {triggers.quoted(watch.table)} IN SHARE ROW EXCLUSIVE MODE")
    before = installed().get(watch.name) or NOTHING
    if before.fits(watch):  # another process was faster
        return
    cursor.execute("SELECT current_schema()")
    cursor.execute(triggers.function_sql(watch, cursor.fetchone()[0]))
    cursor.execute(f"COMMENT ON FUNCTION {triggers.quoted(watch.name)} IS '{watch.stamp}'")
    for event in triggers.EVENTS:
        cursor.execute(triggers.trigger_sql(watch, event))
    was = triggers.stamped(before.stamp) if watch.table in before.events else {}
    fresh = [int(sync) for sync, told in triggers.stamped(watch.stamp).items() if was.get(sync) != told]
    cursor.execute(INSERT_EVERYTHING, [fresh])
    log.info("Changes of %s are watched for the syncs %s.", watch.table, list(watch.syncs))


def _remove(cursor: CursorWrapper, name: str) -> None:
    cursor.execute(f"DROP FUNCTION IF EXISTS {triggers.quoted(name)} CASCADE")
    log.info("%s was removed: nobody watches the table any more.", name)


def _patiently(change: Any, *arguments: Any) -> bool:
    """One process at a time, in a transaction that holds one table's lock only, so that it takes part in no deadlock.

    Writers of the table queue up behind whoever waits for its lock: hence the short time-out.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{lock_milliseconds()}ms"])
            change(cursor, *arguments)
            cursor.execute("SET LOCAL lock_timeout = 0")
    except OperationalError as error:  # lock_not_available, or the server is going away
        log.info("Triggers could not be changed now (%s); trying again at the next tick.", type(error.__cause__).__name__)
        return False
    except DatabaseError:  # of one table; the others go on
        log.exception("Triggers could not be changed; trying again at the next tick.")
        return False
    return True


def lock_milliseconds() -> int:
    return int(settings.SYNCLINE_WATCH_LOCK_MS)


def _migrated() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('syncline_outboxkey') IS NOT NULL")
        return bool(cursor.fetchone()[0])


_TABLES: Final = """
SELECT t.name, array_agg(a.attname::text),
       coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum = ANY(i.indkey)), '{}')
FROM unnest(%s::text[]) AS t (name)
JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(t.name)) AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
GROUP BY t.name
"""


def _tables(names: Iterable[str]) -> dict[str, Table]:
    with connection.cursor() as cursor:
        cursor.execute(_TABLES, [sorted(names)])
        return {name: Table(frozenset(columns), tuple(identity)) for name, columns, identity in cursor.fetchall()}


def declared() -> Iterable[tuple[str, Dependency]]:
    """Every dependency of every dataset, with the dataset's key."""
    return ((key, dependency) for key, one in datasets().items() for dependency in one.depends_on)
