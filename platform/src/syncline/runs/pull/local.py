"""Our own rows during a pull: locked, read with the hash of what a push reads of them, and written by the dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import InterfaceError, OperationalError, connection, transaction

from syncline.contract import Code, Dataset, LocalChange, Op, RecordError, RecordRejected, Status, SynclineError, Written
from syncline.runs.push.reader import Source

log = logging.getLogger("syncline.runs")


@dataclass(frozen=True, slots=True)
class Ours:
    values: Mapping[str, Any]
    hash: int
    modified: object = None


def locked(source: Source, keys: Sequence[str], more: Sequence[str] = (), modified: str = "") -> dict[str, Ours]:
    """These records as they are once nobody else is writing them. `more`: further fields to read; `modified`: when it changed."""
    if not keys:
        return {}
    field = source.dataset.key_field
    rows = source.dataset.rows((), "").filter(**{f"{field}__in": list(keys)})
    list(rows.order_by(field).select_for_update(of=("self",)).values_list(field))
    return read(source, keys, more, modified)


_HASHED = "SELECT s.*, hash_record_extended(s, %s) FROM ({query}) AS s"


def read(source: Source, keys: Sequence[str], more: Sequence[str] = (), modified: str = "") -> dict[str, Ours]:
    if not keys:
        return {}
    hashed = _hashes(source, keys)
    key = source.dataset.key_field
    extra = [n for n in dict.fromkeys([*more, *([modified] if modified else [])]) if n not in source.columns]
    further: dict[str, Mapping[str, Any]] = {}
    if extra:
        rows = source.dataset.rows(extra, "").filter(**{f"{key}__in": list(keys)})
        further = {str(row[key]): row for row in rows.values(key, *(n for n in extra if n != key))}
    found = {}
    for one, (values, hash_) in hashed.items():
        everything = {**further.get(one, {}), **values}
        found[one] = Ours(everything, hash_, everything.get(modified) if modified else None)
    return found


def _hashes(source: Source, keys: Sequence[str]) -> dict[str, tuple[dict[str, Any], int]]:
    queryset = source.dataset.rows(source.fields, "").filter(**{f"{source.dataset.key_field}__in": list(keys)})
    query, params = source.values(queryset.order_by()).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_HASHED.format(query=query), [source.seed, *params])
        return {str(row[0]): (dict(zip(source.columns, row, strict=False)), row[-1]) for row in cursor.fetchall()}


Taken = Callable[[Sequence[str]], Mapping[str, str]]


def _nobody(_keys: Sequence[str]) -> dict[str, str]:
    return {}


@dataclass
class _Owners:
    """Which remote record holds which record of ours: what links say, and what this lot has settled so far."""

    taken: Taken
    settled: dict[str, str]

    def of(self, keys: Sequence[str]) -> dict[str, str]:
        return {**self.taken(keys), **self.settled} if keys else dict(self.settled)


@dataclass(frozen=True)
class Writer:
    """`Dataset.write` in savepoints: a batch that raises is tried in halves, until only the records that raise are left."""

    dataset: Dataset
    owner: AbstractBaseUser

    def write(self, changes: Sequence[LocalChange], taken: Taken = _nobody) -> dict[str, Written]:
        """One answer for each change, by token.

        `taken`: what records of ours are linked to; what a writer finds instead of creating it may belong to another.
        """
        return self._write(changes, _Owners(taken, {c.local_key: c.token for c in changes if c.local_key}))

    def _write(self, changes: Sequence[LocalChange], owners: _Owners) -> dict[str, Written]:
        if not changes:
            return {}
        try:
            with transaction.atomic():
                answers = self._answers(changes, self.dataset.write(changes, self.owner), owners)
                connection.check_constraints()  # what is put off to the commit would undo the whole lot there
        except RecordRejected as error:
            return self._without(changes, error, owners)
        except (OperationalError, InterfaceError):
            raise  # a deadlock, or the database is away: no fault of these records
        except Exception as error:  # noqa: BLE001 - whatever an app's writer ran into, it is told with the record that did it
            return self._split(changes, error, owners)
        owners.settled |= {one.local_key: token for token, one in answers.items() if one.local_key}
        return answers

    def _answers(self, changes: Sequence[LocalChange], written: Sequence[Written], owners: _Owners) -> dict[str, Written]:
        found = {one.token: one for one in written}
        missing = [c.token for c in changes if not _answered(c, found.get(c.token))]
        if missing:
            raise ValueError(f"{self.dataset.info.key} gave no answer for {len(missing)} of {len(changes)} records.")
        self._refuse_taken([found[c.token] for c in changes if c.op is Op.CREATE], owners)
        return {c.token: found[c.token] for c in changes}

    def _refuse_taken(self, created: Sequence[Written], owners: _Owners) -> None:
        """Rolls the batch back for a record that was written over one that belongs to another remote record."""
        held = owners.of([w.local_key for w in created if w.local_key and w.status in (Status.UPDATED, Status.UNCHANGED)])
        for one in created:
            key = one.local_key
            if key and held.setdefault(key, one.token) != one.token:
                said = f"It is our record {key}, which is linked to remote record {held[key]}. Merge the two there."
                raise RecordRejected(said, one.token, code=Code.CONFLICT)

    def _without(self, changes: Sequence[LocalChange], error: RecordRejected, owners: _Owners) -> dict[str, Written]:
        guilty = [c for c in changes if c.token == error.key]
        rest = [c for c in changes if c.token != error.key]
        if not guilty:
            return self._split(changes, error, owners)
        refused = {c.token: _rejected(c, error.code, str(error), error.property) for c in guilty}
        return {**refused, **self._halves(rest, owners)}

    def _halves(self, changes: Sequence[LocalChange], owners: _Owners) -> dict[str, Written]:
        """Even when each of them is refused by itself, it ends soon."""
        middle = len(changes) // 2
        return {**self._write(changes[:middle], owners), **self._write(changes[middle:], owners)}

    def _split(self, changes: Sequence[LocalChange], error: Exception, owners: _Owners) -> dict[str, Written]:
        if len(changes) > 1:
            return self._halves(changes, owners)
        log.warning("%s did not take a record.", self.dataset.info.key, exc_info=error)
        told = str(error) if isinstance(error, SynclineError) else _told(error)
        return {changes[0].token: _rejected(changes[0], Code.OTHER, told, None)}


def _answered(change: LocalChange, one: Written | None) -> bool:
    """Whoever stores a record names it: else it would be made anew whenever it comes."""
    return one is not None and (one.status is Status.REJECTED or bool(one.local_key or change.local_key))


def _told(error: Exception) -> str:
    """Kind only: what a database says quotes values."""
    return f"Our app failed on this record ({type(error).__name__}); see the worker's log."


def _rejected(change: LocalChange, code: Code, message: str, name: str | None) -> Written:
    return Written(change.token, Status.REJECTED, change.local_key, RecordError(code, message, name))
