"""Puts every stored secret under the current key, in batches, each in a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connection as database
from django.db import models, transaction

from . import keyring
from .vault import PREFIX, encrypted_fields

BATCH = 500


@dataclass(slots=True)
class Count:
    """What became of one column. `unreadable`: keys of rows that no key of the ring reads; they are left as they are."""

    column: str
    rotated: int = 0
    current: int = 0
    unreadable: list[int] = field(default_factory=list)


def rotate_all(*, dry_run: bool = False, batch: int = BATCH) -> list[Count]:
    """One Count per encrypted column. Interrupted, it has done whole batches; run again, it goes on with what is left."""
    return [_rotate(model, one, dry_run=dry_run, batch=batch) for model, one in encrypted_fields()]


def _rotate(model: type[models.Model], one: models.Field[Any, Any], *, dry_run: bool, batch: int) -> Count:
    count = Count(f"{model._meta.label}.{one.name}")
    after: int | None = None
    while True:
        with transaction.atomic():
            rows = _next(model, one, after, batch)
            changes = [change for key, stored in rows if (change := _change(count, key, stored))]
            if not dry_run:
                _write(model, one, changes)
        if len(rows) < batch:
            return count
        after = rows[-1][0]


def _change(count: Count, key: int, stored: str) -> tuple[str, int] | None:
    """The new ciphertext and the row's key, or None when there is nothing to do or nothing that can be done."""
    token = stored.removeprefix(PREFIX)
    if stored.startswith(PREFIX) and keyring.is_current(token):
        count.current += 1
        return None
    try:
        if not stored.startswith(PREFIX):
            raise keyring.WrongKey
        sealed = PREFIX + keyring.rotated(token)
    except keyring.WrongKey:
        count.unreadable.append(key)
        return None
    count.rotated += 1
    return sealed, key


def _next(model: type[models.Model], one: models.Field[Any, Any], after: int | None, batch: int) -> list[tuple[int, str]]:
    """Raw ciphertexts by key, locked against a refresh that would store a new token meanwhile."""
    key, column, table = (database.ops.quote_name(name) for name in _names(model, one))
    beyond = f"AND {key} > %s" if after is not None else ""
    sql = f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL {beyond} ORDER BY {key} LIMIT %s FOR UPDATE"  # noqa: S608 - names of our own models
    with database.cursor() as cursor:
        cursor.execute(sql, [batch] if after is None else [after, batch])
        return list(cursor.fetchall())


def _write(model: type[models.Model], one: models.Field[Any, Any], changes: list[tuple[str, int]]) -> None:
    key, column, table = (database.ops.quote_name(name) for name in _names(model, one))
    with database.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", changes)  # noqa: S608


def _names(model: type[models.Model], one: models.Field[Any, Any]) -> tuple[str, str, str]:
    key, column = model._meta.pk.column, one.column
    assert key is not None
    assert column is not None
    return key, column, model._meta.db_table
