"""JSON values ↔ canonical ones, by the kind of property."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson
from syncline.contract import Choice, Kind, Property, Value

WHOLE: Final = "$"
_WORDS: Final = {
    Kind.STRING: "a text",
    Kind.CHOICE: "a text",
    Kind.EMAIL: "an e-mail address",
    Kind.NUMBER: "a number",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a date",
    Kind.DATETIME: "a date with time",
    Kind.JSON: "JSON of at most 254 levels",
}


def text(value: Any) -> str:
    """JSON in its canonical form: no blanks, names sorted. ValueError for what is nested too deep to be written again."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:  # a TypeError, which nobody expects of a value
        raise ValueError(f"{error}: at most 254 levels are kept") from None


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _number(value: Any) -> int | Decimal:
    if type(value) is int:
        return value
    if type(value) is not float:
        raise ValueError
    if value.is_integer():
        return int(value)
    return Decimal(format(Decimal(repr(value)), "f"))


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _moment(value: Any) -> str:
    at = dt.datetime.fromisoformat(_string(value))
    utc = at.astimezone(dt.UTC) if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03}Z"


READ: Final[Mapping[Kind, Callable[[Any], Value]]] = {
    Kind.STRING: _string,
    Kind.CHOICE: _string,
    Kind.EMAIL: lambda value: _string(value).strip().lower(),
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: lambda value: dt.date.fromisoformat(_string(value)).isoformat(),
    Kind.DATETIME: _moment,
    Kind.JSON: text,
}


#: JSON's own values of these are canonical.
AS_THEY_ARE: Final[Mapping[Kind, type]] = {Kind.STRING: str, Kind.CHOICE: str, Kind.BOOLEAN: bool}


def read(found: Property, value: Any) -> Value:
    """ValueError, with a sentence, when it is not what the property holds."""
    try:
        return None if value is None else READ[found.kind](value)
    except (ValueError, OverflowError):
        raise ValueError(
            f"Its {found.name} is not {_WORDS[found.kind]}. If the topic's messages have changed, refresh the catalog."
        ) from None


def wire(kind: Kind, value: Value) -> Any:
    if kind is Kind.JSON and isinstance(value, str):
        return orjson.Fragment(value)
    return orjson.Fragment(format(value, "f")) if isinstance(value, Decimal) else value


def properties(schema: Mapping[str, Any] | None, sample: Iterable[bytes]) -> tuple[Property, ...]:
    """The whole message, and what stands at its top."""
    whole = Property(WHOLE, "Whole message", Kind.JSON)
    known = _declared(schema) if schema is not None else _seen(sample)
    return (whole, *(one for one in known if one.name != WHOLE))


def _declared(schema: Mapping[str, Any]) -> list[Property]:
    return [_property(str(name), one if isinstance(one, dict) else {}) for name, one in schema.get("properties", {}).items()]


def _property(name: str, one: Mapping[str, Any]) -> Property:
    kind, choices = _kind(one), one.get("enum", ())
    if kind is Kind.STRING and choices and all(isinstance(choice, str) for choice in choices):
        return Property(
            name, str(one.get("title", name)), Kind.CHOICE, choices=tuple(Choice(c, c) for c in dict.fromkeys(choices))
        )
    return Property(name, str(one.get("title", name)), kind)


def _kind(one: Mapping[str, Any]) -> Kind:
    given = one.get("type", ())
    types = {given} if isinstance(given, str) else set(given)
    if types - {"null"} == {"string"}:
        return {"date": Kind.DATE, "date-time": Kind.DATETIME, "email": Kind.EMAIL}.get(str(one.get("format")), Kind.STRING)
    return _of_types(types - {"null"})


def _of_types(types: set[str]) -> Kind:
    if types == {"boolean"}:
        return Kind.BOOLEAN
    if types == {"string"}:
        return Kind.STRING
    return Kind.NUMBER if types and types <= {"integer", "number"} else Kind.JSON


def _seen(sample: Iterable[bytes]) -> list[Property]:
    types: dict[str, set[str]] = {}
    for body in sample:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            continue  # not what a message is to look like; a pull says so of each
        for name, one in value.items() if isinstance(value, dict) else ():
            types.setdefault(name, set()).update(_type(one))
    return [Property(name, name, _of_types(seen)) for name, seen in sorted(types.items())]


def _type(value: Any) -> set[str]:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return set() if value is None else {names[type(value)]}
