"""Discovers what a connection offers and keeps it. Returns what changed and applies nothing: that is for the syncs to do."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Min
from django.db.models.functions import Now

from syncline.connections import effective
from syncline.connections.models import Connection, ConnectionState
from syncline.connections.service import note_failure
from syncline.connections.sessions import open_session
from syncline.connections.tokens import mark
from syncline.contract import ConfigError, ObjectType, Property, Session, SynclineError

from . import changes, codec
from .diff import Diff, compare
from .models import ObjectSnapshot

_LOCK: Final = 0x5CA7  # first key of the advisory locks of refreshes; the second one is the connection
_WAIT: Final = 60.0  # seconds to wait for another refresh before asking all the same
_PAUSE: Final = 0.1


def refresh(connection: Connection, session: Session | None = None) -> Diff:
    """Asks the account what it offers, stores it with what changed, and gives the difference to what was stored before."""
    with _alone(connection):
        return _refresh(connection, session)


def freshen(connection: Connection, session: Session | None = None, *, after: dt.datetime | None = None) -> bool:
    """A refresh if one is due: the last one is older than SYNCLINE_CATALOG_MAX_AGE, or began before `after` (database time).

    However many ask at once, the account is asked once. Gives whether it was.
    """
    if not _due(connection, after):
        return False
    with _alone(connection):
        if not _due(connection, after):  # somebody else has asked meanwhile
            return False
        _refresh(connection, session)
        return True


def last_discovery(connection: Connection) -> dt.datetime | None:
    """When the last complete discovery began, in database time."""
    found: dt.datetime | None = _offered(connection).aggregate(at=Min("discovered_at"))["at"]
    return found


def now() -> dt.datetime:
    """Database time."""
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: dt.datetime = cursor.fetchone()[0]
    return found


def _due(connection: Connection, after: dt.datetime | None) -> bool:
    last = last_discovery(connection)
    if last is None:
        return True
    return last < after if after else (now() - last).total_seconds() > max_age()


def max_age() -> float:
    """Seconds after which a run asks the account again what it offers."""
    return float(getattr(settings, "SYNCLINE_CATALOG_MAX_AGE", 3600.0))


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One refresh of a connection at a time. A lock of the database's session: no transaction is open while the account is
    asked, and a killed process leaves nothing behind."""
    end = time.monotonic() + _WAIT
    while not (held := _advisory("pg_try_advisory_lock", connection)) and time.monotonic() < end:
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        if held:
            _advisory("pg_advisory_unlock", connection)


def _advisory(function: str, connection: Connection) -> bool:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [_LOCK, connection.pk % 2**31])
        return bool(cursor.fetchone()[0])


def _refresh(connection: Connection, session: Session | None) -> Diff:
    began = now()
    return _store(connection, _discover(connection, session), began)


def objects(connection: Connection) -> list[ObjectType]:
    """Every object of the last discovery that is still offered, by title."""
    return [codec.from_json(one.content) for one in _offered(connection).order_by("title", "key")]


def object_type(connection: Connection, key: str) -> ObjectType:
    """One object as it was last discovered. ConfigError when it was not, or is gone."""
    found = ObjectSnapshot.objects.filter(connection=connection, key=key).first()
    if found is None:
        raise ConfigError(
            f"{connection.name} has no object {key!r} in its catalog. Refresh the catalog, or choose another object."
        )
    if found.gone_at is not None:
        raise ConfigError(
            f"{connection.name} no longer offers {found.title} ({key}), since {found.gone_at:%Y-%m-%d %H:%M} UTC. "
            "Give the account its permission back and refresh the catalog, or choose another object."
        )
    return codec.from_json(found.content)


def create_missing(connection: Connection, wanted: ObjectType, properties: Sequence[Property]) -> ObjectType:
    """Creates those properties that the account lacks, and gives the object as it is now."""
    missing = [one for one in properties if wanted.property(one.name) is None]
    if missing:
        connector = effective.connector_of(connection)
        session = open_session(connection)
        with _noting(connection):
            connector.call.create_properties(session=session, object_type=wanted, properties=missing)
    with _alone(connection):
        began = now()
        found = _discover(connection)
        if wanted.key in found:
            _store_one(connection, found[wanted.key], began)  # only this one: what else changed is for `refresh` to report
    return object_type(connection, wanted.key)


def _discover(connection: Connection, session: Session | None = None) -> dict[str, ObjectType]:
    connector = effective.connector_of(connection)
    session = session or open_session(connection)
    with _noting(connection):
        found = connector.call.discover(session=session)
    if connection.state == ConnectionState.SETTINGS:
        mark(connection.pk, ConnectionState.OK, "")
    return {one.key: one for one in found}


@contextmanager
def _noting(connection: Connection) -> Iterator[None]:
    """Leaves what an error means in the connection's state, and lets it pass."""
    try:
        yield
    except SynclineError as error:
        note_failure(connection, error)
        raise


def _store(connection: Connection, found: Mapping[str, ObjectType], began: dt.datetime) -> Diff:
    """Under the connection's row lock, so that two refreshes at once do not report the same change twice."""
    with transaction.atomic():
        Connection.objects.select_for_update(of=("self",)).only("pk").get(pk=connection.pk)
        known = {row.key: row for row in ObjectSnapshot.objects.filter(connection=connection)}
        before = {key: codec.from_json(row.content) for key, row in known.items() if row.gone_at is None}
        diff = compare(before, found)
        if known:  # the first discovery is no change
            back = {key: codec.from_json(row.content) for key, row in known.items() if row.gone_at is not None and key in found}
            changes.record(connection, diff, before, found)
            changes.record(connection, compare(back, {key: found[key] for key in back}), back, found)
        _write(connection, found.values(), began)
        _offered(connection).exclude(key__in=found).update(gone_at=Now())
    return diff


def _store_one(connection: Connection, found: ObjectType, began: dt.datetime) -> None:
    with transaction.atomic():
        Connection.objects.select_for_update(of=("self",)).only("pk").get(pk=connection.pk)
        known = ObjectSnapshot.objects.filter(connection=connection, key=found.key, gone_at=None).first()
        if known is not None:
            before, after = {found.key: codec.from_json(known.content)}, {found.key: found}
            changes.record(connection, compare(before, after), before, after)
        _write(connection, [found], began)


def _write(connection: Connection, found: Iterable[ObjectType], began: dt.datetime) -> None:
    plain = [codec.to_json(one) for one in found]
    rows = [
        ObjectSnapshot(
            connection=connection,
            key=one["key"],
            title=one["title"],
            content=one,
            digest=codec.digest(one),
            discovered_at=began,
            gone_at=None,
        )
        for one in plain
    ]
    ObjectSnapshot.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["connection", "key"],
        update_fields=["title", "content", "digest", "discovered_at", "gone_at"],
    )


def _offered(connection: Connection) -> Any:
    return ObjectSnapshot.objects.filter(connection=connection, gone_at=None)
