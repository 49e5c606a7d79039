"""Property values: what HubSpot accepts for each type, the codes it refuses with, and the form it stores."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .clock import iso
from .wire import Json, invalid_json

Check = Callable[[Any], str]

LONGEST_STRING = 65_536
_EMAIL = re.compile(r"[^@\s,;<>()\[\]]+@[^@\s.,;]+(?:\.[^@\s.,;]+)+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH_MS = re.compile(r"-?[0-9]+")


class BadValue(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def text(value: Any) -> str:
    """JSON numbers and booleans as HubSpot stores them: everything is a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise invalid_json(f"Cannot deserialize value of type `java.lang.String` from {type(value).__name__}")


def check_string(value: Any) -> str:
    held = value if type(value) is str else text(value)
    if len(held) > LONGEST_STRING:
        raise BadValue("INVALID_STRING_LENGTH", f"Value of {len(held)} characters exceeds the limit of {LONGEST_STRING}.")
    return held


def check_email(value: Any) -> str:
    held = text(value).strip().lower()
    if not _EMAIL.fullmatch(held):
        raise BadValue("INVALID_EMAIL", f"Email address {text(value)} is invalid")
    return held


def check_number(value: Any) -> str:
    held = text(value).strip()
    if not _NUMBER.fullmatch(held):
        raise BadValue("INVALID_INTEGER", f"{held} was not a valid number.")
    return held


def check_datetime(value: Any) -> str:
    held = text(value).strip()
    if _EPOCH_MS.fullmatch(held):
        return _from_epoch(held, "INVALID_LONG")
    return iso(_parsed(held, "INVALID_LONG", "long").timestamp())


def check_date(value: Any) -> str:
    held = text(value).strip()
    if _EPOCH_MS.fullmatch(held):
        instant = _from_epoch(held, "INVALID_DATE")
        if not instant.endswith("T00:00:00Z"):
            time_of_day = instant[11:].rstrip("Z")
            raise BadValue("INVALID_DATE", f"{held} is at {time_of_day} UTC, not midnight!")
        return instant[:10]
    return _parsed(held, "INVALID_DATE", "date").date().isoformat()


def _from_epoch(held: str, code: str) -> str:
    try:
        return iso(int(held) / 1000)
    except (OverflowError, ValueError) as error:
        raise BadValue(code, f"{held} is out of range.") from error


def _parsed(held: str, code: str, kind: str) -> datetime:
    try:
        moment = datetime.fromisoformat(held) if len(held) > 10 or _DATE.fullmatch(held) else None
    except ValueError:
        moment = None
    if moment is None:
        raise BadValue(code, f"{held} was not a valid {kind}.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _options_of(definition: Json) -> Check:
    allowed = {option["value"] for option in definition["options"]}
    many = definition["fieldType"] == "checkbox" and definition["type"] == "enumeration"

    def check(value: Any) -> str:
        held = text(value)
        chosen = [part for part in held.split(";") if part] if many else [held]
        for part in chosen:
            if part not in allowed:
                known = ", ".join(sorted(allowed))
                raise BadValue("INVALID_OPTION", f"{part} was not one of the allowed options: [{known}]")
        return held

    return check


_BY_TYPE: dict[str, Check] = {
    "string": check_string,
    "phone_number": check_string,
    "number": check_number,
    "date": check_date,
    "datetime": check_datetime,
}


def check_for(definition: Json) -> Check | None:
    """None for a property whose value only HubSpot writes."""
    if definition["modificationMetadata"]["readOnlyValue"]:
        return None
    if definition["name"] == "email":
        return check_email
    kind: str = definition["type"]
    if kind in ("enumeration", "bool") and not definition["externalOptions"]:
        return _options_of(definition)
    check: Check | None = _BY_TYPE.get(kind)
    return check or check_string


def appended(old: str | None, new: str) -> str:
    """A leading semicolon adds to a multi-choice value instead of replacing it."""
    if not new.startswith(";"):
        return new
    chosen = dict.fromkeys(part for part in f"{old or ''}{new}".split(";") if part)
    return ";".join(chosen)
