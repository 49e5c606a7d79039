"""Brings an invented register into PostgreSQL: COPY, one block and one transaction at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max, Model
from psycopg import sql

from ..models import Company, Country, Deal, Employee
from . import words
from .invent import LARGEST, Block, Numbers, Recipe, Row, blocks

Monitor = Company.monitors.through
STAMPS: Final = ("created", "modified")
COLUMNS: Final[dict[type[Model], tuple[str, ...]]] = {
    Company: (
        "id", "companies_house_id", "name", "description", "date_founded", "country_id", "website", "creator_id", *STAMPS,
    ),
    Monitor: ("id", "company_id", "user_id"),
    Employee: ("id", "company_id", "name", "job_title", "gender", "email", "phone_number", *STAMPS),
    Deal: ("id", "company_id", "date_of_deal", "amount_raised", *STAMPS),
}  # fmt: skip
#: Users made here are known by this name.
USER_PREFIX: Final = "register-user-"
#: Later dates would make a register differ from day to day.
LATEST: Final = dt.date(2026, 9, 30)


class RegisterTooLarge(ValueError):
    """More companies than there are names and numbers for."""


def clear() -> None:
    """Empties the register. Countries and users stay: other things may belong to them, and the next load takes them again."""
    tables = sql.SQL(", ").join(sql.Identifier(model._meta.db_table) for model in COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))


def load(
    companies: int,
    *,
    seed: int = 1,
    employees_per_company: float = 1.2,
    deals_per_company: float = 1.0,
    progress: Callable[[Block], None] = lambda _block: None,
) -> None:
    """Adds companies after those that are there; `progress` is called for every block once it is committed."""
    numbers = Numbers(*(_next_key(model) for model in (Company, Employee, Deal, Monitor)))
    if numbers.company + companies > LARGEST:
        raise RegisterTooLarge(
            f"A register can be made up to company number {LARGEST:,}; "
            f"{companies:,} more after {numbers.company - 1:,} are too many. Make fewer, or clear it first."
        )
    recipe = Recipe(
        seed,
        min(LATEST, dt.datetime.now(dt.UTC).date()),
        _countries(),
        _users(companies),
        employees_per_company,
        deals_per_company,
    )
    for block in blocks(recipe, companies, numbers):
        with transaction.atomic():
            _copy_block(block)
        progress(block)
    _set_sequences()


def _copy_block(block: Block) -> None:
    _copy(Company, block.companies)
    _copy(Monitor, block.monitors)
    _copy(Employee, block.employees)
    _copy(Deal, block.deals)
    connection.check_constraints()  # now, not at commit: the queue of checks must not grow, nor forbid a later TRUNCATE


def _copy(model: type[Model], rows: Sequence[Row]) -> None:
    table = sql.Identifier(model._meta.db_table)
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[model]))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _next_key(model: type[Model]) -> int:
    largest: int | None = model._default_manager.aggregate(largest=Max("pk"))["largest"]
    return (largest or 0) + 1


def _countries() -> list[int]:
    known = [Country.objects.get_or_create(iso_code=code, defaults={"name": name})[0] for code, name, _, _ in words.COUNTRIES]
    return [country.pk for country in known]


def _users(companies: int) -> list[int]:
    """Colleagues who enter and monitor companies: one in 500, at least 10; none of them can log in."""
    users: Any = get_user_model().objects
    numbers = range(1, max(10, min(2_000, companies // 500)) + 1)
    model = get_user_model()
    users.bulk_create([model(**_user(number)) for number in numbers], ignore_conflicts=True)
    names = [f"{USER_PREFIX}{number}" for number in numbers]
    return list(users.filter(username__in=names).order_by("id").values_list("id", flat=True))


def _user(number: int) -> dict[str, str]:
    first = words.FIRST_NAMES["FM"[number % 2]][number % 31]
    last = words.LAST_NAMES[number * 7 % len(words.LAST_NAMES)]
    name = f"{USER_PREFIX}{number}"
    # "!" marks an unusable password; the rest is what Django puts there, but the same every time.
    password = "!" + hashlib.sha256(name.encode()).hexdigest()[:40]
    return {"username": name, "first_name": first, "last_name": last, "email": f"{name}@example.com", "password": password}


def _set_sequences() -> None:
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(COLUMNS)):
            cursor.execute(statement)
