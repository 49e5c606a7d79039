"""Canonical values ↔ HubSpot's, which are all strings. One function per kind; HubSpot's empty value is ""."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from syncline.contract import Kind, ObjectType, RemoteRecord, Value


def to_wire(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def from_wire(kind: Kind, name: str, raw: Any) -> Value:
    """A value that does not fit its property's type stays text, so that it differs from whatever we would write."""
    if raw is None or raw == "":
        return None
    try:
        return READERS.get(name, KINDS.get(kind, str))(str(raw))
    except (ValueError, InvalidOperation, OverflowError):
        return str(raw)


def record(object_type: ObjectType, raw: Mapping[str, Any]) -> RemoteRecord:
    kinds = {p.name: p.kind for p in object_type.properties}
    return RemoteRecord(
        id=str(raw["id"]),
        properties={n: from_wire(kinds.get(n, Kind.STRING), n, v) for n, v in (raw.get("properties") or {}).items()},
        archived=bool(raw.get("archived")),
        modified_at=_moment(raw["updatedAt"]) if raw.get("updatedAt") else None,
    )


def _number(raw: str) -> Value:
    number = Decimal(raw)
    if not number.is_finite():
        raise ValueError(raw)
    return int(number) if number == number.to_integral_value() else Decimal(format(number.normalize(), "f"))


def _moment(raw: str) -> dt.datetime:
    if raw.lstrip("-").isdigit():  # epoch milliseconds
        return dt.datetime.fromtimestamp(int(raw) / 1000, dt.UTC)
    parsed = dt.datetime.fromisoformat(raw)
    return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)


def _datetime(raw: str) -> str:
    return _moment(raw).isoformat(timespec="milliseconds").replace("+00:00", "Z")


KINDS: Final[dict[Kind, Callable[[str], Value]]] = {
    Kind.NUMBER: _number,
    Kind.BOOLEAN: lambda raw: raw.lower() == "true",
    Kind.DATE: lambda raw: _moment(raw).date().isoformat(),
    Kind.DATETIME: _datetime,
    Kind.SET: lambda raw: tuple(sorted({part for part in raw.split(";") if part})),
    Kind.EMAIL: lambda raw: raw.strip().lower(),
}
# By property: the same domain is written in many ways.
READERS: Final[dict[str, Callable[[str], Value]]] = {"domain": lambda raw: raw.strip().lower().rstrip(".")}
