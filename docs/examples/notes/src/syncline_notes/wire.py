"""Canonical values to the wire form of Notes and back; everything Notes does its own way about values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from syncline.contract import Choice, Kind, Property, Value

KINDS = {
    "text": Kind.STRING,
    "number": Kind.NUMBER,
    "yes_no": Kind.BOOLEAN,
    "day": Kind.DATE,
    "moment": Kind.DATETIME,  # milliseconds since 1970
    "option": Kind.CHOICE,
    "options": Kind.SET,
    "email": Kind.EMAIL,
}
TYPES = {kind: name for name, kind in KINDS.items()}


def to_wire(value: Value) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return list(value) if isinstance(value, tuple) else value


def moment_to_wire(value: Value) -> Any:
    return None if value is None else round(dt.datetime.fromisoformat(str(value)).timestamp() * 1000)


def moment(value: dt.datetime | None) -> str:
    return value.astimezone(dt.UTC).isoformat(timespec="microseconds") if value else ""


def from_wire(kind: Kind, raw: Any) -> Value:
    """The canonical value of what Notes sent."""
    if raw is None:
        return None
    if kind is Kind.NUMBER:
        return number(raw)
    if kind is Kind.DATETIME:
        moment = dt.datetime.fromtimestamp(raw / 1000, dt.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if kind is Kind.SET:
        return tuple(sorted(set(raw)))
    return bool(raw) if kind is Kind.BOOLEAN else str(raw)


def number(raw: float) -> int | Decimal:
    """Canonical: int, or a Decimal without exponent and trailing zeros."""
    exact = Decimal(str(raw))
    return int(exact) if exact == exact.to_integral_value() else exact.normalize()


def fields_to_wire(values: Mapping[str, Value], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    return {n: moment_to_wire(v) if kinds.get(n) is Kind.DATETIME else to_wire(v) for n, v in values.items()}


def property_from_wire(field: Mapping[str, Any]) -> Property:
    kind = KINDS[field["type"]]
    options = field.get("options", [])
    return Property(
        name=field["name"],
        label=field["label"],
        kind=kind,
        schema=schema(kind, options, field.get("longest")),
        choices=tuple(Choice(option, option.title()) for option in options),
        read_only=field.get("read_only", False),
        required=field.get("required", False),
        unique=field.get("unique", False),
    )


def schema(kind: Kind, options: list[str], longest: int | None) -> dict[str, Any]:
    """JSON Schema of the canonical value: the host refuses a wrong value before it costs a call."""
    if kind is Kind.NUMBER:
        return {"type": "number"}
    if kind is Kind.BOOLEAN:
        return {"type": "boolean"}
    if kind is Kind.SET:
        return {"type": "array", "items": {"enum": options}}
    if kind is Kind.CHOICE:
        return {"enum": options}
    return {"type": "string", "maxLength": longest} if longest else {"type": "string"}
