"""A canonical value against its property's JSON Schema, compiled once per property.

Keywords that a comparison can check are checked by one; only a schema with other keywords goes through a full validator
(jsonschema-rs says pass or fail, jsonschema gives the sentence).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final

import jsonschema
import jsonschema_rs

from syncline.contract.values import Code, Kind, Property, Value

from .problems import Unmappable, listed, shorten

Check = Callable[[Any], None]  # of a value that is not None; raises Unmappable

_JSON_TYPES: Final = {Kind.NUMBER: "number", Kind.BOOLEAN: "boolean", Kind.SET: "array"}
_SILENT: Final = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "$schema", "$id", "$comment"}
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_CORRECT: Final = "Correct it in the record, or change the rule."


class SchemaUnusable(ValueError):
    """The property's schema is not a JSON Schema."""


def checks(prop: Property) -> tuple[Check, ...]:
    """What a canonical value of this property must pass, cheapest first. Raises SchemaUnusable."""
    schema = dict(prop.schema)
    found = [_choices(prop, schema), _length(schema), _number_range(prop, schema), _email(prop), _full(prop, schema)]
    return tuple(check for check in found if check is not None)


def _choices(prop: Property, schema: Mapping[str, Any]) -> Check | None:
    if prop.kind in {Kind.NUMBER, Kind.BOOLEAN}:
        return None
    inner = schema.get("items") if prop.kind is Kind.SET else schema
    named = inner.get("enum", ()) if isinstance(inner, Mapping) else ()
    allowed = frozenset(value for value in named if isinstance(value, str))
    if prop.kind in {Kind.CHOICE, Kind.SET} and prop.choices:
        known = frozenset(choice.value for choice in prop.choices)
        allowed = allowed & known if allowed else known
    if not allowed:
        return None
    in_order = [c.value for c in prop.choices if c.value in allowed] or sorted(allowed)
    return _member_check(allowed, in_order) if prop.kind is Kind.SET else _one_check(allowed, in_order)


def _one_check(allowed: Collection[str], in_order: list[str]) -> Check:
    def check(value: Any) -> None:
        if value not in allowed:
            raise _unknown_choice(value, in_order)

    return check


def _member_check(allowed: frozenset[str], in_order: list[str]) -> Check:
    def check(value: tuple[str, ...]) -> None:
        if not allowed.issuperset(value):
            raise _unknown_choice(next(item for item in value if item not in allowed), in_order)

    return check


def _unknown_choice(value: object, in_order: list[str]) -> Unmappable:
    advice = "Add the transform “choice_map” to the rule, or add the choice in the account and refresh the catalog."
    reason = f"“{shorten(value)}” is not one of the choices ({listed(in_order)})."
    return Unmappable(reason, advice, Code.INVALID_CHOICE)


def _length(schema: Mapping[str, Any]) -> Check | None:
    longest = schema.get("maxLength")
    if not isinstance(longest, int):
        return None

    def check(value: Any) -> None:
        if isinstance(value, str) and len(value) > longest:
            advice = f"Shorten it in the record, or add the transform “truncate” with length {longest} to the rule."
            raise Unmappable(
                f"“{shorten(value)}” has {len(value)} characters; at most {longest} are allowed.", advice, Code.TOO_LONG
            )

    return check


def _number_range(prop: Property, schema: Mapping[str, Any]) -> Check | None:
    if prop.kind is not Kind.NUMBER:
        return None
    least, most, whole = schema.get("minimum"), schema.get("maximum"), schema.get("type") == "integer"
    if least is None and most is None and not whole:
        return None

    def check(value: int | Decimal) -> None:
        if whole and not isinstance(value, int):
            raise Unmappable(f"“{shorten(value)}” is not a whole number.", "Add the transform “round” to the rule.")
        if least is not None and value < least:
            raise Unmappable(f"“{shorten(value)}” is less than {least}, the least allowed.", _CORRECT)
        if most is not None and value > most:
            raise Unmappable(f"“{shorten(value)}” is more than {most}, the most allowed.", _CORRECT)

    return check


def _email(prop: Property) -> Check | None:
    return _email_check if prop.kind is Kind.EMAIL else None


def _email_check(value: str) -> None:
    if not _EMAIL.fullmatch(value):
        raise Unmappable(f"“{shorten(value)}” is not an e-mail address.", "Correct it in the record.")


def _full(prop: Property, schema: dict[str, Any]) -> Check | None:
    """A validator for the keywords that the checks above do not cover, if there are any."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        if _covered(prop, schema):
            return None
        fast, slow = jsonschema_rs.validator_for(schema), jsonschema.Draft202012Validator(schema)
    except (jsonschema.SchemaError, ValueError) as error:
        raise SchemaUnusable(shorten(getattr(error, "message", error), 200)) from None

    def check(value: Any) -> None:
        if not fast.is_valid(value):
            raise _sentence(slow, value)

    return check


def _covered(prop: Property, schema: Mapping[str, Any]) -> bool:
    return all(key in _SILENT or _keyword_covered(prop.kind, key, value) for key, value in schema.items())


def _keyword_covered(kind: Kind, key: str, value: Any) -> bool:
    if key == "type":
        own = _JSON_TYPES.get(kind, "string")
        return own in (value if isinstance(value, list) else [value]) or (kind is Kind.NUMBER and value == "integer")
    if key == "enum":
        return kind not in {Kind.NUMBER, Kind.BOOLEAN, Kind.SET} and _texts(value)
    if key in {"minimum", "maximum"}:
        return True
    if key == "items":
        return kind is Kind.SET and isinstance(value, dict) and _items_covered(value)
    return key == "maxLength" or (key == "uniqueItems" and kind is Kind.SET)


def _items_covered(items: Mapping[str, Any]) -> bool:
    return items.keys() <= {"type", "enum"} and items.get("type", "string") == "string" and _texts(items.get("enum", ["any"]))


def _texts(allowed: list[Any]) -> bool:
    """With no text among them they allow no canonical text, which is for the full validator to say."""
    return any(isinstance(one, str) for one in allowed) and all(one is None or isinstance(one, str) for one in allowed)


def _sentence(validator: jsonschema.Draft202012Validator, value: Value) -> Unmappable:
    instance = list(value) if isinstance(value, tuple) else float(value) if isinstance(value, Decimal) else value
    error = next(iter(validator.iter_errors(instance)), None)
    reason = error.message if error else "does not fit the property's schema"
    rule = f" ({error.validator}: {shorten(error.validator_value, 60)})" if error else ""
    return Unmappable(f"“{shorten(value)}” does not fit the property: {shorten(reason, 160)}{rule}.", _CORRECT)
