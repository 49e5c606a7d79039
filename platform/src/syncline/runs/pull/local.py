"""Our own rows during a pull: locked, read with the hash of what a push reads of them, and written by the dataset."""

from __future__ import annotations

import datetime as dt
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
    modified: dt.datetime | None = None


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


@dataclass(frozen=True)
class Writer:
    """`Dataset.write` in savepoints: a batch that raises is tried in halves, until only the records that raise are left."""

    dataset: Dataset
    owner: AbstractBaseUser

    def write(self, changes: Sequence[LocalChange], taken: Taken = _nobody) -> dict[str, Written]:
        """One answer for each change, by token.

        `taken`: what records of ours are linked to; what a writer finds instead of creating it may belong to another.
        """
        if not changes:
            return {}
        try:
            with transaction.atomic():
                return self._answers(changes, self.dataset.write(changes, self.owner), taken)
        except RecordRejected as error:
            return self._without(changes, error, taken)
        except (OperationalError, InterfaceError):
            raise  # a deadlock, or the database is away: no fault of these records
        except Exception as error:  # noqa: BLE001 - whatever an app's writer ran into, it is told with the record that did it
            return self._split(changes, error, taken)

    def _answers(self, changes: Sequence[LocalChange], written: Sequence[Written], taken: Taken) -> dict[str, Written]:
        found = {one.token: one for one in written}
        missing = [c.token for c in changes if c.token not in found]
        if missing:
            raise ValueError(f"{self.dataset.info.key} gave no answer for {len(missing)} of {len(changes)} records.")
        self._refuse_taken([found[c.token] for c in changes if c.op is Op.CREATE], taken)
        return {c.token: found[c.token] for c in changes}

    def _refuse_taken(self, created: Sequence[Written], taken: Taken) -> None:
        """Rolls the batch back for a record that was written over one that belongs to another remote record."""
        found = {w.local_key: w.token for w in created if w.local_key and w.status in (Status.UPDATED, Status.UNCHANGED)}
        owners = taken(list(found)) if found else {}
        for key, remote_id in owners.items():
            if remote_id != found[key]:
                said = f"It is our record {key}, which is linked to remote record {remote_id}. Merge the two there."
                raise RecordRejected(said, found[key], code=Code.CONFLICT)

    def _without(self, changes: Sequence[LocalChange], error: RecordRejected, taken: Taken) -> dict[str, Written]:
        guilty = [c for c in changes if c.token == error.key]
        rest = [c for c in changes if c.token != error.key]
        if not guilty:
            return self._split(changes, error, taken)
        refused = {c.token: _rejected(c, error.code, str(error), error.property) for c in guilty}
        return {**refused, **self.write(rest, taken)}

    def _split(self, changes: Sequence[LocalChange], error: Exception, taken: Taken) -> dict[str, Written]:
        if len(changes) > 1:
            middle = len(changes) // 2
            return {**self.write(changes[:middle], taken), **self.write(changes[middle:], taken)}
        log.warning("%s did not take a record.", self.dataset.info.key, exc_info=error)
        told = str(error) if isinstance(error, SynclineError) else _told(error)
        return {changes[0].token: _rejected(changes[0], Code.OTHER, told, None)}


def _told(error: Exception) -> str:
    """Kind only: what a database says quotes values."""
    return f"Our app failed on this record ({type(error).__name__}); see the worker's log."


def _rejected(change: LocalChange, code: Code, message: str, name: str | None) -> Written:
    return Written(change.token, Status.REJECTED, change.local_key, RecordError(code, message, name))
