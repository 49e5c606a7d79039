"""Whole batches in and out of PostgreSQL: a few statements each, whatever their size."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db import connection, models
from django.db.models.base import ModelState
from django.utils import timezone
from psycopg import sql

from ..models import Company, Stamped

if TYPE_CHECKING:
    from django.db.models import Field

M = TypeVar("M", bound=Stamped)
LARGEST: Final = 2**63 - 1


def as_number(key: str | None) -> int | None:
    """The primary key that this local key writes; None when it can be none."""
    if not key or not (key.isascii() and key.isdecimal()) or len(key) > 19 or key != str(int(key)):
        return None
    return int(key) if int(key) <= LARGEST else None


def locked(model: type[M], keys: Collection[int], *, to_delete: bool) -> dict[int, M]:
    """The rows, nobody else's until the transaction ends; in the order of keys, so that two batches never wait for each other."""
    if not keys:
        return {}
    rows = model._default_manager.select_for_update(no_key=not to_delete).filter(pk__in=sorted(keys)).order_by("pk")
    return {row.pk: row for row in rows}


def kept_companies(keys: Collection[int]) -> frozenset[int]:
    """Those of the companies that are there, and stay until the transaction ends: foreign keys are only checked at its end."""
    if not keys:
        return frozenset()
    table = sql.Identifier(Company._meta.db_table)
    with connection.cursor() as cursor:
        statement = sql.SQL("SELECT id FROM {} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE").format(table)
        cursor.execute(statement, [sorted(keys)])
        return frozenset(row[0] for row in cursor.fetchall())


def copied(blank: M) -> M:
    """A row like this one, not saved yet: many times faster than to have Django work out the defaults for each."""
    row = type(blank).__new__(type(blank))
    row.__dict__.update(blank.__dict__, _state=ModelState())
    return row


def insert(model: type[M], rows: Sequence[M]) -> None:
    """By COPY; gives the rows their keys, in their order, and their time stamps."""
    if not rows:
        return
    _stamp(rows)
    columns = [field for field in model._meta.concrete_fields if not field.generated]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(model._meta.db_table), sql.SQL(", ").join(sql.Identifier(str(field.column)) for field in columns)
    )
    names = [field.attname for field in columns]
    with connection.cursor() as cursor:
        for row, key in zip(rows, _new_keys(cursor, model, len(rows)), strict=True):
            row.pk = key
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([getattr(row, name) for name in names])


def _stamp(rows: Sequence[M]) -> None:
    now = timezone.now()
    for row in rows:
        row.created = row.modified = now


def _new_keys(cursor: Any, model: type[M], count: int) -> list[int]:
    table = sql.Identifier(model._meta.db_table).as_string(None)
    named = "(SELECT pg_get_serial_sequence(%s, 'id')::regclass)"  # looked up once, not for each row
    cursor.execute(f"SELECT nextval({named}) FROM generate_series(1, %s)", [table, count])  # noqa: S608
    return [row[0] for row in cursor.fetchall()]


def update(model: type[M], rows: Sequence[M]) -> None:
    """All columns of rows that this transaction has locked, and when they were modified."""
    if not rows:
        return
    columns = [f for f in model._meta.concrete_fields if not f.generated and f.name not in {"id", "created", "modified"}]
    names = [sql.Identifier(str(field.column)) for field in columns]
    statement = sql.SQL("UPDATE {} t SET {}, modified = %s FROM unnest(%s::bigint[], {}) AS v (id, {}) WHERE t.id = v.id").format(
        sql.Identifier(model._meta.db_table),
        sql.SQL(", ").join(sql.SQL("{0} = v.{0}").format(name) for name in names),
        sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(_type(field))) for field in columns),
        sql.SQL(", ").join(names),
    )
    arrays = [[getattr(row, field.attname) for row in rows] for field in columns]
    with connection.cursor() as cursor:
        cursor.execute(statement, [timezone.now(), [row.pk for row in rows], *arrays])


def _type(field: Field[Any, Any]) -> str:
    """Not varchar(n): a cast to it would cut."""
    return "text" if isinstance(field, models.CharField | models.TextField) else str(field.db_type(connection))
