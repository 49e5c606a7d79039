"""What the transforms do: builders of functions of one value. Options are valid when they come here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from . import canonical
from .problems import Unmappable, listed, shorten

Apply = Callable[[Any], object]
_EPOCH: Final = dt.datetime(1970, 1, 1)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_TRUE: Final = frozenset({"true", "yes", "y", "1", "on", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "0", "off", "f"})


def some(function: Callable[[Any], object]) -> Apply:
    """Lets None through."""
    return lambda value: None if value is None else function(value)


def each(function: Callable[[str], object]) -> Apply:
    """Works on text, and on each text of a list; other values become text first."""

    def apply(value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [function(text) for item in value if (text := canonical.as_text(item)) is not None]
        text = canonical.as_text(value)
        return None if text is None else function(text)

    return apply


def plain(function: Callable[[str], object]) -> Callable[[Mapping[str, Any]], Apply]:
    return lambda _options: each(function)


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


def to_date(options: Mapping[str, Any]) -> Apply:
    form = options.get("format", "")
    return some(lambda value: None if value == "" else canonical.date(_moment(value, form) if form else value))


def to_datetime(options: Mapping[str, Any]) -> Apply:
    form = options.get("format", "")
    return some(lambda value: None if value == "" else canonical.datetime(_moment(value, form) if form else value))


def epoch_ms(value: object) -> object:
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


def to_number(options: Mapping[str, Any]) -> Apply:
    comma = options.get("decimal_comma", False)

    def apply(value: object) -> object:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, str):
            text = "".join(value.split())
            return _read(value, text.replace(".", "").replace(",", ".") if comma else text.replace(",", ""))
        return canonical.number(value)

    return some(apply)


def _read(value: str, text: str) -> object:
    try:
        return canonical.number(text)
    except Unmappable:
        raise _refused(value, "is not a number.") from None


def integer(value: object) -> object:
    found = int(value) if isinstance(value, bool) else canonical.number(value)
    if isinstance(found, Decimal):
        raise _refused(value, "is not a whole number.", "Use the transform “round” in the rule.")
    return found


def rounded(options: Mapping[str, Any]) -> Apply:
    step = Decimal(1).scaleb(-options.get("digits", 0))

    def apply(value: object) -> object:
        found = canonical.number(value)
        if found is None:
            return None
        try:
            return canonical.number(Decimal(found).quantize(step, ROUND_HALF_UP, canonical.ROUNDING))
        except InvalidOperation:
            raise _refused(value, "has too many digits to be rounded.") from None

    return some(apply)


def boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    word = (canonical.as_text(value) or "").strip().lower()
    if not word:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise _refused(value, "means neither yes nor no.", "Use the transform “choice_map” before “boolean” in the rule.")


def choice_map(options: Mapping[str, Any]) -> Apply:
    choices: dict[str, Any] = dict(options["map"])

    def apply(text: str) -> object:
        if text in choices:
            return choices[text]
        if "default" in options:
            return options["default"]
        known = listed(list(choices)) if choices else "nothing"
        raise _refused(text, f"is not in the choice map ({known}).", "Add it to the map, or give the map a default.")

    return each(apply)


def truncate(options: Mapping[str, Any]) -> Apply:
    length = options["length"]
    return each(lambda text: text[:length])


def default(options: Mapping[str, Any]) -> Apply:
    instead = options["value"]
    return lambda value: instead if value is None or value in ("", [], ()) else value


def split(options: Mapping[str, Any]) -> Apply:
    separator = options.get("separator", ",")

    def apply(value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return list(value)
        return [part.strip() for part in (canonical.as_text(value) or "").split(separator) if part.strip()]

    return some(apply)


def join(options: Mapping[str, Any]) -> Apply:
    separator = options.get("separator", ", ")

    def apply(value: object) -> object:
        if not isinstance(value, list | tuple | set | frozenset):
            return value
        texts = [text for item in value if (text := canonical.as_text(item))]
        return separator.join(sorted(texts) if isinstance(value, set | frozenset) else texts)

    return some(apply)
