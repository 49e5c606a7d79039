"""Transforms of a field rule, by name.

A step of a rule is `{"name": <transform>, <option>: <value>, …}`. An empty value (None) passes through every transform
except `default`; text transforms treat a list element by element. A transform that cannot do its work raises Unmappable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema

from syncline.contract import normalise

from . import conversions as to
from .conversions import Apply
from .problems import shorten


@dataclass(frozen=True, slots=True)
class Transform:
    """`build` makes the function from valid options; `options` maps option names to their JSON Schemas."""

    name: str
    label: str
    help: str
    build: Callable[[Mapping[str, Any]], Apply]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the options."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.options.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def complaint(self, options: Mapping[str, Any]) -> str:
        """Why these options are wrong, "" when they are not."""
        error = next(iter(jsonschema.Draft202012Validator(self.schema).iter_errors(dict(options))), None)
        if error is None:
            return ""
        at = f"option “{error.path[0]}”: " if error.path else ""
        return at + shorten(error.message, 160)


def compile_steps(steps: Sequence[Mapping[str, Any]]) -> Apply | None:
    """One function for a rule's steps, None for none; names and options must have been checked."""
    functions = [TRANSFORMS[step["name"]].build(options_of(step)) for step in steps]
    if len(functions) < 2:
        return functions[0] if functions else None

    def apply(value: object) -> object:
        for function in functions:
            value = function(value)
        return value

    return apply


def options_of(step: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name != "name"}


_FORM: Final = {
    "type": "string",
    "minLength": 2,
    "maxLength": 60,
    "description": "as Python's strptime, e.g. %d/%m/%Y; empty means ISO 8601",
}
_TEXT: Final = {"type": "string", "maxLength": 1000}
_SINGLE: Final = {"type": ["string", "number", "boolean", "null"]}
_SEPARATOR: Final = {"type": "string", "minLength": 1, "maxLength": 20}

_ALL: Final = (
    Transform("trim", "Trim", "Takes white space from both ends.", to.plain(str.strip)),
    Transform("lower", "Lower case", "Makes all letters small.", to.plain(str.lower)),
    Transform("upper", "Upper case", "Makes all letters capital.", to.plain(str.upper)),
    Transform("title", "Title case", "Starts each word with a capital letter.", to.plain(str.title)),
    Transform(
        "collapse", "Collapse spaces", "Makes each run of white space one space.", to.plain(lambda text: " ".join(text.split()))
    ),
    Transform(
        "domain",
        "Domain of URL",
        "Takes the host name, without www., of an address; nothing when there is none.",
        to.plain(normalise.domain),
    ),
    Transform("date", "To date", "Reads a date.", to.to_date, {"format": _FORM}),
    Transform(
        "datetime", "To date and time", "Reads a date and time; without a zone it is UTC.", to.to_datetime, {"format": _FORM}
    ),
    Transform(
        "epoch_ms",
        "Date ↔ epoch ms",
        "Turns a date into milliseconds since 1970 (UTC), and a number of them into a date and time.",
        lambda _options: to.some(to.epoch_ms),
    ),
    Transform(
        "number",
        "To number",
        "Reads a number, with separators of thousands.",
        to.to_number,
        {"decimal_comma": {"type": "boolean"}},
    ),
    Transform("integer", "To whole number", "Reads a whole number and refuses fractions.", lambda _options: to.some(to.integer)),
    Transform(
        "round",
        "Round",
        "Rounds to so many decimal places, half away from zero.",
        to.rounded,
        {"digits": {"type": "integer", "minimum": -15, "maximum": 15}},
    ),
    Transform(
        "boolean", "To yes or no", "Reads yes, true, on, y, t, 1 and their opposites.", lambda _options: to.some(to.boolean)
    ),
    Transform("text", "To text", "Writes any single value as text.", to.plain(str)),
    Transform(
        "choice_map",
        "Map choices",
        "Replaces values by a table; `default` is for the rest, which are refused without it.",
        to.choice_map,
        {"map": {"type": "object", "additionalProperties": _SINGLE}, "default": _SINGLE},
        ("map",),
    ),
    Transform(
        "truncate",
        "Truncate",
        "Keeps the first characters.",
        to.truncate,
        {"length": {"type": "integer", "minimum": 1}},
        ("length",),
    ),
    Transform(
        "default",
        "Default",
        "Stands in for an empty value.",
        to.default,
        {"value": {"type": ["string", "number", "boolean"]}},
        ("value",),
    ),
    Transform(
        "prefix",
        "Prefix",
        "Puts text before the value.",
        lambda o: to.each(lambda text: o["text"] + text),
        {"text": _TEXT},
        ("text",),
    ),
    Transform(
        "suffix",
        "Suffix",
        "Puts text after the value.",
        lambda o: to.each(lambda text: text + o["text"]),
        {"text": _TEXT},
        ("text",),
    ),
    Transform(
        "split",
        "Split to a set",
        "Makes a list of the parts between separators (a comma, unless given).",
        to.split,
        {"separator": _SEPARATOR},
    ),
    Transform("join", "Join", "Makes one text of a list (by a comma and a space, unless given).", to.join, {"separator": _TEXT}),
)

#: Every transform by name, in the order lists show them.
TRANSFORMS: Final[Mapping[str, Transform]] = {transform.name: transform for transform in _ALL}
