"""Transforms of a field rule, by name.

A step of a rule is `{"name": <transform>, <option>: <value>, …}`. An empty value (None) passes through every transform
except `default`; text transforms treat a list element by element. A transform that cannot do its work raises Unmappable.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

import jsonschema

from syncline.contract import normalise

from . import canonical
from .problems import Unmappable, listed, shorten

Apply = Callable[[Any], object]
_EPOCH: Final = dt.datetime(1970, 1, 1)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_TRUE: Final = frozenset({"true", "yes", "y", "1", "on", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "0", "off", "f"})


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


def _some(function: Callable[[Any], object]) -> Apply:
    """Lets None through."""
    return lambda value: None if value is None else function(value)


def _each(function: Callable[[str], object]) -> Apply:
    """Works on text, and on each text of a list; other values become text first."""

    def apply(value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [function(text) for item in value if (text := canonical.as_text(item)) is not None]
        text = canonical.as_text(value)
        return None if text is None else function(text)

    return apply


def _plain(function: Callable[[str], object]) -> Callable[[Mapping[str, Any]], Apply]:
    return lambda _options: _each(function)


def _refused(value: object, reason: str, advice: str = "Correct it in the record, or change the rule.") -> Unmappable:
    return Unmappable(f"“{shorten(value)}” {reason}", advice)


def _moment(value: object, form: str) -> dt.datetime:
    """A naive moment in UTC, read by `form` (as strptime) or as ISO 8601."""
    if isinstance(value, str) and form:
        try:
            value = dt.datetime.strptime(value.strip(), form)
        except ValueError:
            raise _refused(value, f"is not a date in the form {form}.") from None
    text = canonical.datetime(value)
    if text is None:
        raise _refused(value, "is not a date.")
    return dt.datetime.fromisoformat(text[:-1])


def _to_date(options: Mapping[str, Any]) -> Apply:
    form = options.get("format", "")
    return _some(lambda value: None if value == "" else canonical.date(_moment(value, form) if form else value))


def _to_datetime(options: Mapping[str, Any]) -> Apply:
    form = options.get("format", "")
    return _some(lambda value: None if value == "" else canonical.datetime(_moment(value, form) if form else value))


def _epoch_ms(value: object) -> object:
    if value == "":
        return None
    if isinstance(value, dt.date):
        return (_moment(value, "") - _EPOCH) // _MILLISECOND
    if isinstance(value, str) and value.count("-") >= 2:
        return (_moment(value, "") - _EPOCH) // _MILLISECOND
    milliseconds = canonical.number(value)
    try:
        return _EPOCH + dt.timedelta(milliseconds=int(milliseconds or 0))
    except OverflowError:
        raise _refused(value, "is too large for a count of milliseconds since 1970.") from None


def _to_number(options: Mapping[str, Any]) -> Apply:
    comma = options.get("decimal_comma", False)

    def apply(value: object) -> object:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, str):
            text = "".join(value.split())
            value = text.replace(".", "").replace(",", ".") if comma else text.replace(",", "")
        return canonical.number(value)

    return _some(apply)


def _integer(value: object) -> object:
    found = int(value) if isinstance(value, bool) else canonical.number(value)
    if isinstance(found, Decimal):
        raise _refused(value, "is not a whole number.", "Use the transform “round” in the rule.")
    return found


def _round(options: Mapping[str, Any]) -> Apply:
    step = Decimal(1).scaleb(-options.get("digits", 0))

    def apply(value: object) -> object:
        found = canonical.number(value)
        if not isinstance(found, Decimal):
            return found
        try:
            return canonical.number(found.quantize(step, ROUND_HALF_UP, canonical.ROUNDING))
        except InvalidOperation:
            raise _refused(value, "has too many digits to be rounded.") from None

    return _some(apply)


def _boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    word = (canonical.as_text(value) or "").strip().lower()
    if not word:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise _refused(value, "means neither yes nor no.", "Use the transform “choice_map” before “boolean” in the rule.")


def _choice_map(options: Mapping[str, Any]) -> Apply:
    choices: dict[str, Any] = dict(options["map"])

    def apply(text: str) -> object:
        if text in choices:
            return choices[text]
        if "default" in options:
            return options["default"]
        known = listed(list(choices)) if choices else "nothing"
        raise _refused(text, f"is not in the choice map ({known}).", "Add it to the map, or give the map a default.")

    return _each(apply)


def _truncate(options: Mapping[str, Any]) -> Apply:
    length = options["length"]
    return _each(lambda text: text[:length])


def _default(options: Mapping[str, Any]) -> Apply:
    instead = options["value"]
    return lambda value: instead if value is None or value in ("", [], ()) else value


def _split(options: Mapping[str, Any]) -> Apply:
    separator = options.get("separator", ",")

    def apply(value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return list(value)
        return [part.strip() for part in (canonical.as_text(value) or "").split(separator) if part.strip()]

    return _some(apply)


def _join(options: Mapping[str, Any]) -> Apply:
    separator = options.get("separator", ", ")

    def apply(value: object) -> object:
        if not isinstance(value, list | tuple | set | frozenset):
            return value
        texts = [text for item in value if (text := canonical.as_text(item))]
        return separator.join(sorted(texts) if isinstance(value, set | frozenset) else texts)

    return _some(apply)


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
    Transform("trim", "Trim", "Takes white space from both ends.", _plain(str.strip)),
    Transform("lower", "Lower case", "Makes all letters small.", _plain(str.lower)),
    Transform("upper", "Upper case", "Makes all letters capital.", _plain(str.upper)),
    Transform("title", "Title case", "Starts each word with a capital letter.", _plain(str.title)),
    Transform(
        "collapse", "Collapse spaces", "Makes each run of white space one space.", _plain(lambda text: " ".join(text.split()))
    ),
    Transform(
        "domain",
        "Domain of URL",
        "Takes the host name, without www., of an address; nothing when there is none.",
        _plain(normalise.domain),
    ),
    Transform("date", "To date", "Reads a date.", _to_date, {"format": _FORM}),
    Transform(
        "datetime", "To date and time", "Reads a date and time; without a zone it is UTC.", _to_datetime, {"format": _FORM}
    ),
    Transform(
        "epoch_ms",
        "Date ↔ epoch ms",
        "Turns a date into milliseconds since 1970 (UTC), and a number of them into a date and time.",
        lambda _options: _some(_epoch_ms),
    ),
    Transform(
        "number", "To number", "Reads a number, with separators of thousands.", _to_number, {"decimal_comma": {"type": "boolean"}}
    ),
    Transform("integer", "To whole number", "Reads a whole number and refuses fractions.", lambda _options: _some(_integer)),
    Transform(
        "round",
        "Round",
        "Rounds to so many decimal places, half away from zero.",
        _round,
        {"digits": {"type": "integer", "minimum": -15, "maximum": 15}},
    ),
    Transform("boolean", "To yes or no", "Reads yes, true, on, y, t, 1 and their opposites.", lambda _options: _some(_boolean)),
    Transform("text", "To text", "Writes any single value as text.", _plain(str)),
    Transform(
        "choice_map",
        "Map choices",
        "Replaces values by a table; `default` is for the rest, which are refused without it.",
        _choice_map,
        {"map": {"type": "object", "additionalProperties": _SINGLE}, "default": _SINGLE},
        ("map",),
    ),
    Transform(
        "truncate",
        "Truncate",
        "Keeps the first characters.",
        _truncate,
        {"length": {"type": "integer", "minimum": 1}},
        ("length",),
    ),
    Transform(
        "default",
        "Default",
        "Stands in for an empty value.",
        _default,
        {"value": {"type": ["string", "number", "boolean"]}},
        ("value",),
    ),
    Transform(
        "prefix",
        "Prefix",
        "Puts text before the value.",
        lambda o: _each(lambda text: o["text"] + text),
        {"text": _TEXT},
        ("text",),
    ),
    Transform(
        "suffix",
        "Suffix",
        "Puts text after the value.",
        lambda o: _each(lambda text: text + o["text"]),
        {"text": _TEXT},
        ("text",),
    ),
    Transform(
        "split",
        "Split to a set",
        "Makes a list of the parts between separators (a comma, unless given).",
        _split,
        {"separator": _SEPARATOR},
    ),
    Transform("join", "Join", "Makes one text of a list (by a comma and a space, unless given).", _join, {"separator": _TEXT}),
)

#: Every transform by name, in the order lists show them.
TRANSFORMS: Final[Mapping[str, Transform]] = {transform.name: transform for transform in _ALL}
