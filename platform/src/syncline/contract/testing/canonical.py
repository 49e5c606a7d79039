"""Whether a value is in its kind's canonical form, and valid for its property (see `syncline.contract.values`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import jsonschema

from syncline.contract import Json, Kind, Property, Value

DATE = re.compile(r"\d{4}-\d\d-\d\d")
DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _number(value: Any) -> bool:
    if type(value) is int:
        return True
    return type(value) is Decimal and value.is_finite() and int(value.as_tuple().exponent) <= 0 and not _padded(value)


def _padded(value: Decimal) -> bool:
    digits, exponent = value.as_tuple().digits, int(value.as_tuple().exponent)
    return exponent < 0 and digits[-1] == 0


def _set(value: Any) -> bool:
    return type(value) is tuple and all(type(v) is str for v in value) and list(value) == sorted(set(value))


FORMS: Mapping[Kind, Callable[[Any], bool]] = {
    Kind.STRING: lambda v: type(v) is str,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: lambda v: type(v) is bool,
    Kind.DATE: lambda v: type(v) is str and DATE.fullmatch(v) is not None,
    Kind.DATETIME: lambda v: type(v) is str and DATETIME.fullmatch(v) is not None,
    Kind.CHOICE: lambda v: type(v) is str,
    Kind.SET: _set,
    Kind.EMAIL: lambda v: type(v) is str and v == v.lower(),
}


def as_json(value: Value) -> Json:
    """The JSON form that a property's schema is about."""
    if isinstance(value, Decimal):
        return float(value)
    return list(value) if isinstance(value, tuple) else value


def problem(value: Value, definition: Property) -> str:
    """What is wrong with the value, "" when nothing is."""
    if value is None:
        return ""
    if not FORMS[definition.kind](value):
        return f"{value!r} is not the canonical form of the kind {definition.kind}"
    errors = [error.message for error in jsonschema.Draft202012Validator(dict(definition.schema)).iter_errors(as_json(value))]
    return "; ".join(errors)
