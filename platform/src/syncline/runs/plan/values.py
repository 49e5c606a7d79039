"""Canonical values as a plan keeps them: JSON, and back by the property's kind."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from syncline.contract import Json, Property, Value
from syncline.syncs.engine.canonical import canonical, plain_number

_EXACT: Final = 2**53  # larger whole numbers are not the same everywhere


def to_json(value: Value) -> Json:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal) or (isinstance(value, int) and abs(value) > _EXACT):
        return plain_number(value)
    return value


def from_json(prop: Property, kept: Json) -> Value:
    """Raises Unmappable when the property is of another kind by now."""
    return canonical(prop, kept)
