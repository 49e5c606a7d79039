"""While a run goes on, the account's definitions may change under it.

An answer that a property is unknown, read-only or does not take a value makes the part ask the account once more what it
offers. If that changes what the mapping can write, the part stops, the records concerned are put off, and whoever goes on
compiles the mapping anew: only the field is suspended. If it does not, the refusal is the record's own.

Parts in other processes learn by their own next refusal: they find that somebody has asked since, and need not ask again.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from django.conf import settings

from syncline.catalog import service as catalog
from syncline.contract import AuthError, Code, ConfigError, ObjectType, PushResult, Session, Status, SynclineError
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.writer import FenceLost
from syncline.runs.close import SUSPENDED
from syncline.syncs.engine import CompiledMapping
from syncline.syncs.models import MappingVersion
from syncline.syncs.publish import compiled

#: Refusals that other definitions would explain.
SUSPICIOUS: Final = frozenset({Code.UNKNOWN_PROPERTY, Code.READ_ONLY, Code.INVALID_CHOICE, Code.INVALID_VALUE})
TRUST: Final = 60.0
"""Seconds for which further refusals of the same kind are the records' own, once the account said that nothing changed."""

Suspect = tuple[int, str, Code, str | None]
"""Connection, object, code, property."""

#: Until when (monotonic) refusals are trusted; for all parts that this process carries out.
_trusted: dict[Suspect, float] = {}

log = logging.getLogger("syncline.runs")


class Definitions:
    """What a part was compiled against. Used from all its threads. `moved`: the account's are others by now."""

    def __init__(self, version: MappingVersion, mapping: CompiledMapping, object_type: ObjectType, session: Session) -> None:
        self.moved = False
        self._version, self._session = version, session
        self._connection = version.sync.connection
        self._mine = _stamp(mapping, object_type)
        self._lock = threading.Lock()

    def explain(self, results: Iterable[PushResult]) -> None:
        """Asks the account again if these answers are a reason to; afterwards `moved` says what to make of them."""
        errors = [e for r in results if r.status is Status.REJECTED and (e := r.error) and e.code in SUSPICIOUS]
        if not errors or self.moved:
            return
        where = (self._connection.pk, self._version.sync.object_type)
        suspects = {(*where, error.code, error.property) for error in errors}
        asked = catalog.now()  # only a discovery that begins after the refusal tells whether it was right
        with self._lock:
            if self.moved or all(_trusted.get(one, 0.0) > time.monotonic() for one in suspects):
                return
            self.moved = self._look(asked)
            if not self.moved:
                _trust(suspects)

    def postpones(self, result: PushResult) -> bool:
        """Whether this refusal is to be forgotten, because the record is sent again by other definitions."""
        return self.moved and result.status is Status.REJECTED and bool(result.error and result.error.code in SUSPICIOUS)

    def _look(self, asked: dt.datetime) -> bool:
        try:
            self._refresh(asked)
        except FenceLost:
            raise
        except SynclineError as error:
            log.warning("%s could not be asked what it offers: %s", self._connection.name, error)
        try:
            object_type = catalog.object_type(self._connection, self._version.sync.object_type)
            return _stamp(compiled(self._version), object_type) != self._mine
        except ConfigError:  # it cannot be carried out any more; who claims the part next says so
            return True

    def _refresh(self, asked: dt.datetime) -> None:
        """Not more often than every so many seconds, over all parts of all runs."""
        last = catalog.last_discovery(self._connection)
        if last is not None and last < asked:
            time.sleep(max(0.0, look_seconds() - (asked - last).total_seconds()))
        catalog.freshen(self._connection, self._session, after=asked)


def _trust(suspects: Iterable[Suspect]) -> None:
    now = time.monotonic()
    for old in [one for one, until in list(_trusted.items()) if until < now]:
        _trusted.pop(old, None)
    _trusted.update(dict.fromkeys(suspects, now + TRUST))


def look_seconds() -> float:
    return float(getattr(settings, "SYNCLINE_DRIFT_SECONDS", 5.0))


def _stamp(mapping: CompiledMapping, object_type: ObjectType) -> tuple[str, str | None]:
    return mapping.digest, object_type.unique_key


def freshen(version: MappingVersion, session: Session) -> None:
    """Before a run: asks the account what it offers, if the last time is long ago.

    What is stored does as well while the account cannot be reached; credentials or settings that are refused end the run.
    """
    connection = version.sync.connection
    try:
        catalog.freshen(connection, session)
    except (AuthError, ConfigError, FenceLost):
        raise
    except SynclineError as error:
        if catalog.last_discovery(connection) is None:
            raise
        log.warning("%s could not be asked what it offers, its catalog stays as it is: %s", connection.name, error)


def note_suspended(run_id: int, mapping: CompiledMapping) -> None:
    """Rules that are not carried out: no record's fault, but the run is not a full success. Told once in a run."""
    ErrorGroup.objects.bulk_create(
        (
            ErrorGroup(
                run_id=run_id,
                cause=blake2b(f"suspended {problem.target}".encode(), digest_size=12).hexdigest(),
                state=Link.State.PENDING,
                code=SUSPENDED,
                property=problem.target,
                message=str(problem),
                samples=[],
            )
            for problem in mapping.suspended
        ),
        ignore_conflicts=True,
    )
