"""Discovers what a connection offers and keeps it. Returns what changed and applies nothing: that is for the syncs to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from syncline.connections import effective
from syncline.connections.models import Connection
from syncline.connections.service import note_failure
from syncline.connections.sessions import open_session
from syncline.contract import ConfigError, ObjectType, Property, Session, SynclineError

from . import codec
from .diff import Diff, compare
from .models import ObjectSnapshot


def refresh(connection: Connection) -> Diff:
    """Asks the account what it offers, stores it, and gives the difference to what was stored before."""
    return _store(connection, _discover(connection))


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
    found = _discover(connection)
    if wanted.key in found:
        _write(connection, [found[wanted.key]])  # only this one: what else changed is for `refresh` to report
    return object_type(connection, wanted.key)


def _discover(connection: Connection) -> dict[str, ObjectType]:
    connector = effective.connector_of(connection)
    session: Session = open_session(connection)
    with _noting(connection):
        found = connector.call.discover(session=session)
    return {one.key: one for one in found}


@contextmanager
def _noting(connection: Connection) -> Iterator[None]:
    """Leaves what an error means in the connection's state, and lets it pass."""
    try:
        yield
    except SynclineError as error:
        note_failure(connection, error)
        raise


def _store(connection: Connection, found: Mapping[str, ObjectType]) -> Diff:
    """Under the connection's row lock, so that two refreshes at once do not report the same change twice."""
    with transaction.atomic():
        Connection.objects.select_for_update(of=("self",)).only("pk").get(pk=connection.pk)
        diff = compare({one.key: one for one in objects(connection)}, found)
        _write(connection, found.values())
        _offered(connection).exclude(key__in=found).update(gone_at=Now())
    return diff


def _write(connection: Connection, found: Iterable[ObjectType]) -> None:
    plain = [codec.to_json(one) for one in found]
    rows = [
        ObjectSnapshot(
            connection=connection,
            key=one["key"],
            title=one["title"],
            content=one,
            digest=codec.digest(one),
            discovered_at=Now(),
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
