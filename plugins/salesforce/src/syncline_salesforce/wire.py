"""Canonical values ↔ Salesforce's, which are JSON's, with dates as text and sets joined by semicolons."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from syncline.contract import Kind, ObjectType, RemoteRecord, Retryable, Value

STAMP: Final = "SystemModstamp"
_EXACT: Final = 1 << 53


def to_wire(value: Value) -> Any:
    """Numbers that a JSON reader would round go as text, which Salesforce takes as well."""
    if isinstance(value, tuple):
        return ";".join(value)
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT:
        return str(value)
    return value


def unclearable(object_type: ObjectType, values: Mapping[str, Value]) -> dict[str, Value]:
    """A checkbox has no third state: one without a value is not ticked."""
    boxes = {p.name for p in object_type.properties if p.kind is Kind.BOOLEAN}
    return {name: False if value is None and name in boxes else value for name, value in values.items()}


def to_text(value: Value) -> str:
    """As a cell of a file; an empty cell would leave the field as it is."""
    if value is None:
        return "#N/A"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def moment(raw: Any) -> dt.datetime | None:
    """`2026-11-26T18:00:00.000+0000`, milliseconds since 1970 as change events have them, and what else means a moment."""
    if isinstance(raw, int):
        return dt.datetime.fromtimestamp(raw / 1000, dt.UTC)
    try:
        parsed = dt.datetime.fromisoformat(str(raw))
    except ValueError:
        return None
    return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)


def literal(at: dt.datetime) -> str:
    """As queries want it. Salesforce's stamps have whole seconds: what lies between two is brought down to the earlier one."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reader:
    """Makes records of one object with the properties asked for; made once for many of them."""

    def __init__(self, object_type: ObjectType, names: Iterable[str]) -> None:
        self._title, asked = object_type.title, set(names)
        self._converters = {p.name: READERS[p.kind] for p in object_type.properties if p.name in asked}

    def __call__(self, raw: Any, merged: Mapping[str, tuple[str, ...]] | None = None) -> RemoteRecord:
        if not isinstance(raw, dict) or not isinstance(raw.get("Id"), str) or not raw["Id"]:
            raise Retryable(f"Salesforce listed one of {self._title} without an id. It is asked again.")
        return RemoteRecord(
            id=raw["Id"],
            properties=self.values(raw),
            archived=raw.get("IsDeleted") is True,
            modified_at=moment(raw.get(STAMP)),
            merged=(merged or {}).get(raw["Id"], ()),
        )

    def values(self, raw: Mapping[str, Any]) -> dict[str, Value]:
        return {name: self._value(name, value) for name, value in raw.items() if name in self._converters}

    def _value(self, name: str, raw: Any) -> Value:
        """A value that does not fit its field's type stays text, so that it differs from whatever we would write."""
        if raw is None or raw == "":
            return None
        try:
            return self._converters[name](raw)
        except (ValueError, InvalidOperation, OverflowError):
            return str(raw)


def _number(raw: Any) -> Value:
    number = Decimal(str(raw))
    if not number.is_finite():
        raise ValueError(raw)
    return int(number) if number == number.to_integral_value() else Decimal(format(number.normalize(), "f"))


def _datetime(raw: Any) -> str:
    at = moment(raw)
    if at is None:
        raise ValueError(raw)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(raw: Any) -> str:
    at = moment(raw) if isinstance(raw, int) else None
    return at.date().isoformat() if at else dt.date.fromisoformat(str(raw)[:10]).isoformat()


def _set(raw: Any) -> tuple[str, ...]:
    return tuple(sorted({part for part in str(raw).split(";") if part}))


READERS: Final[Mapping[Kind, Callable[[Any], Value]]] = {
    Kind.STRING: str,
    Kind.CHOICE: str,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: lambda raw: raw is True or str(raw).lower() == "true",
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.SET: _set,
    Kind.EMAIL: lambda raw: str(raw).strip().lower(),
}
