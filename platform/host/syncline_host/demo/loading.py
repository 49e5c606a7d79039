"""What the demo begins with: a fixture of the user's own, or made-up companies. A bad row does not stop the others."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core import serializers
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.core.management import CommandError, call_command
from django.core.management.color import no_style
from django.core.serializers.base import DeserializationError
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from rich.console import Console
from syncline.contract import ConfigError

from syncline_host.environment import count

COMPANIES = 2000
LISTED = 100
#: How a row of a fixture can fail: unreadable, of an unknown model, or refused by the database.
UNFIT = (
    DeserializationError,
    FieldDoesNotExist,
    ObjectDoesNotExist,
    ValidationError,
    DatabaseError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


def load(console: Console) -> None:
    """Fills the database as FIXTURE or COMPANIES say. ConfigError when what they say cannot be carried out."""
    fixture, companies = os.environ.get("FIXTURE"), count("COMPANIES", COMPANIES, "make demo")
    rows = _rows(Path(fixture).resolve()) if fixture else None
    call_command("migrate", verbosity=0)
    if fixture is None or rows is None:
        call_command("populate_database", companies=companies, clear=True)
        return
    left_out = _load_rows(Path(fixture).resolve(), rows)
    console.print(f"{len(rows) - len(left_out):,} of {len(rows):,} rows loaded from {fixture}.", markup=False)
    for name, reason in list(left_out.items())[:LISTED]:
        console.print(f"left out: {name}: {reason}", markup=False, soft_wrap=True)
    if len(left_out) > LISTED:
        console.print(f"left out: {len(left_out) - LISTED:,} more.")


def _rows(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"FIXTURE: the file {path} cannot be read ({error.strerror}). Give the path of a JSON fixture."
        ) from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ConfigError(f"FIXTURE: {path} is not readable JSON ({error}). Make it anew, e.g. with dumpdata.") from error
    if not isinstance(found, list):
        raise ConfigError(f"FIXTURE: {path} holds no list of rows. Give a file as Django's dumpdata writes it.")
    return found


def _load_rows(path: Path, rows: list[Any]) -> dict[str, str]:
    """At once when everything fits, else row by row. Gives the rows left out with the reasons."""
    try:
        call_command("loaddata", str(path), verbosity=0)
    except (*UNFIT, CommandError):  # the reasons are found row by row
        return load_what_fits(rows)
    return {}


def load_what_fits(rows: list[Any]) -> dict[str, str]:
    """In the order of the file; rows that point at later ones are tried again as long as that helps."""
    left_out: dict[int, str] = {}
    loaded: set[type[models.Model]] = set()
    waiting = list(range(len(rows)))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # so that each row hears of its own missing parent
        while waiting:
            reasons = {number: reason for number in waiting if (reason := _load_row(rows[number], loaded))}
            left_out = {number: reason for number, (reason, _) in reasons.items()}
            again = [number for number, (_, hopeless) in reasons.items() if not hopeless]
            if len(reasons) == len(waiting) or not again:
                break
            waiting = list(reasons)
        _continue_numbering(loaded)
    return {_name(rows[number], number): left_out[number] for number in sorted(left_out)}


def _load_row(row: Any, loaded: set[type[models.Model]]) -> tuple[str, bool] | None:
    """Why the row does not fit, and whether later rows cannot change that; None when it is loaded."""
    try:
        with transaction.atomic():
            for one in serializers.deserialize("python", [row]):
                one.save()
                loaded.add(type(one.object))
    except UNFIT as error:
        parent_missing = isinstance(error, IntegrityError) and getattr(error.__cause__, "sqlstate", "") == "23503"
        return _reason(error), not (parent_missing or isinstance(error, ObjectDoesNotExist))
    return None


def _reason(error: Exception) -> str:
    """What the database says of the row, in one line."""
    diagnosis = getattr(error.__cause__, "diag", None)
    parts = [diagnosis.message_primary, diagnosis.message_detail] if diagnosis else [str(error) or type(error).__name__]
    return " ".join(": ".join(part for part in parts if part).split())


def _name(row: Any, number: int) -> str:
    if isinstance(row, Mapping) and "model" in row:
        return f"{row['model']} {row.get('pk', '(no key)')} (row {number + 1})"
    return f"row {number + 1}"


def _continue_numbering(loaded: set[type[models.Model]]) -> None:
    """Keys given by the file are not given out again."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(loaded)):
            cursor.execute(statement)
