"""One Python value per meaning, and its fingerprint.

Decisions beyond the table in `contract.values`:

* text is Unicode NFC; the empty text and the empty set are None; white space is kept in STRING and CHOICE
* a date-time without a zone is UTC; it is cut, not rounded, to milliseconds; its DATE is the date in UTC
* a number as text is read with a decimal point and nothing else around the digits; NaN and infinities are refused
* a single text is a SET of one
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import uuid
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation
from hashlib import blake2b
from typing import Any, Final

import orjson

from syncline.contract.values import Kind, Property, Value

from .problems import Unmappable, shorten

ROUNDING: Final = Context(prec=400, traps=[InvalidOperation])
_EXACT: Final = Context(prec=400, Emin=-999999, Emax=999999, traps=[Inexact, InvalidOperation])
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LARGEST: Final = 308  # decimal exponent of what fits a JSON number everywhere
_LARGEST_BITS: Final = 1023
_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


def canonical(prop: Property, value: object) -> Value:
    """The value in the property's canonical form; None for no value. Raises Unmappable when it has none.

    Does not look at the property's schema and choices: see `validation`.
    """
    return CANONICAL[prop.kind](value)


def number(value: object) -> int | Decimal | None:
    if type(value) is int:
        return _in_range(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        raise _refused(value, "is a boolean, not a number.", "Add the transform “number” to the rule.")
    if isinstance(value, int):
        return _in_range(int(value))
    return _exact(_decimal(value), value)


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str) and len(value) <= 1000 and _NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    if isinstance(value, dt.date):
        raise _refused(value, "is a date, not a number.", "Add the transform “epoch_ms” or choose a date property.")
    raise _refused(value, "is not a number.", "Correct it in the record, or add the transform “number” to the rule.")


def _exact(found: Decimal, value: object) -> int | Decimal:
    if not found.is_finite():
        raise _refused(value, "is not a finite number.", "Correct it in the record.")
    if not found:
        return 0
    if abs(found.adjusted()) > _LARGEST:
        raise _too_large(value)
    try:
        plain = found.normalize(_EXACT)
    except (Inexact, InvalidOperation):
        raise _refused(value, "has too many digits.", "Add the transform “round” to the rule.") from None
    whole = isinstance(exponent := plain.as_tuple().exponent, int) and exponent >= 0
    return _in_range(int(plain)) if whole else plain


def _in_range(value: int) -> int:
    if value.bit_length() > _LARGEST_BITS:
        raise _too_large(value)
    return value


def _too_large(value: object) -> Unmappable:
    return _refused(value, "is too large or too small a number.", "Correct it in the record.")


def plain_number(value: int | Decimal | float) -> str:
    """Digits and a point, never an exponent."""
    found = number(value)
    return format(found, "f") if isinstance(found, Decimal) else str(found)


def string(value: object) -> str | None:
    if isinstance(value, str):
        return (value if value.isascii() else _composed(value)) or None
    return as_text(value)


def as_text(value: object) -> str | None:
    """The text that stands for a single value of any type a dataset may hold."""
    for types, write in _TEXTS:
        if isinstance(value, types):
            return write(value)
    if isinstance(value, list | tuple | set | frozenset):
        raise _refused(value, "is a list, not a single value.", "Add the transform “join” to the rule.")
    raise _refused(value, f"is a {type(value).__name__}, which no property holds.", "Write an expression that gives text.")


def _composed(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused(value, "holds a broken character (half a surrogate pair).", "Correct it in the record.") from None
    return unicodedata.normalize("NFC", value)


def boolean(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if not word:
            return None
        if word in {"true", "false"}:
            return word == "true"
    elif isinstance(value, int | float | Decimal) and (found := number(value)) in {0, 1}:
        return found == 1
    raise _refused(value, "is neither true nor false.", "Add the transform “boolean” to the rule.")


def date(value: object) -> str | None:
    if type(value) is dt.date:
        return value.isoformat()
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        return _date_from_text(text) if text else None
    if isinstance(value, dt.datetime):
        return _utc(value).date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    raise _refused(value, "is not a date.", "Add the transform “epoch_ms” or “date” to the rule.")


def _date_from_text(text: str) -> str:
    try:
        if _DATE.fullmatch(text):
            return dt.date.fromisoformat(text).isoformat()
        if _DATE.match(text):
            return _utc(dt.datetime.fromisoformat(text)).date().isoformat()
    except ValueError:
        pass
    raise _refused(text, "is not a date in the form YYYY-MM-DD.", "Add the transform “date” with its format to the rule.")


def datetime(value: object) -> str | None:
    if isinstance(value, dt.datetime):
        return _utc(value).isoformat(timespec="milliseconds") + "Z"
    if value is None:
        return None
    if isinstance(value, dt.date):
        return f"{value.isoformat()}T00:00:00.000Z"
    if isinstance(value, str):
        text = value.strip()
        return datetime(_moment(text)) if text else None
    raise _refused(value, "is not a date and time.", "Add the transform “epoch_ms” or “datetime” to the rule.")


def _moment(text: str) -> dt.datetime:
    try:
        if _DATE.match(text):
            return dt.datetime.fromisoformat(text)
    except ValueError:
        pass
    raise _refused(text, "is not an ISO 8601 date and time.", "Add the transform “datetime” with its format to the rule.")


def _utc(value: dt.datetime) -> dt.datetime:
    """Without a zone, in UTC."""
    if value.utcoffset() is None:
        return value.replace(tzinfo=None)
    try:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    except OverflowError:
        raise _refused(value, "is outside the years 1 to 9999.", "Correct it in the record.") from None


def members(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple | set | frozenset):
        value = (value,)
    found = {text for item in value if (text := as_text(item)) and text.strip()}
    return tuple(sorted(found)) or None


def email(value: object) -> str | None:
    text = as_text(value)
    return string(text.strip().lower()) if text else None


def json(value: object) -> str | None:
    """Text is taken for JSON, lists and dicts are what they are."""
    if value is None or value == "":
        return None
    try:
        return orjson.dumps(orjson.loads(value) if isinstance(value, str) else value, option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise _refused(value, "is no JSON.", "Map the whole object, or choose a text property.") from None


#: The first type that fits decides: a bool is an int, a datetime a date.
_TEXTS: Final[tuple[tuple[tuple[type, ...], Callable[[Any], str | None]], ...]] = (
    ((str,), string),
    ((type(None),), lambda _value: None),
    ((bool,), lambda value: "true" if value else "false"),
    ((int, float, Decimal), plain_number),
    ((dt.datetime,), datetime),
    ((dt.date, dt.time), lambda value: str(value.isoformat())),
    ((uuid.UUID,), str),
)

CANONICAL: Final[Mapping[Kind, Callable[[object], Value]]] = {
    Kind.STRING: string,
    Kind.NUMBER: number,
    Kind.BOOLEAN: boolean,
    Kind.DATE: date,
    Kind.DATETIME: datetime,
    Kind.CHOICE: string,
    Kind.SET: members,
    Kind.EMAIL: email,
    Kind.JSON: json,
    Kind.REFERENCE: string,
}


def _refused(value: object, reason: str, advice: str) -> Unmappable:
    return Unmappable(f"“{shorten(value)}” {reason}", advice)


def fingerprint(value: Value) -> str:
    """11 characters (8 bytes, URL-safe base64) that equal values of one type share; None has one too."""
    raw = blake2b(_tagged(value), digest_size=8).digest()
    return b2a_base64(raw, newline=False)[:11].translate(_URLSAFE).decode("ascii")


def _tagged(value: Value) -> bytes:
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if value is None:
        return b"-"
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, tuple):
        parts = [item.encode("utf-8", "surrogatepass") for item in value]
        return b"t" + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return b"n" + plain_number(value).encode()


def digest(fingerprints: Mapping[str, str]) -> str:
    """16 hex digits over property names and fingerprints, whatever their order."""
    text = "\0".join(f"{name}\0{fingerprints[name]}" for name in sorted(fingerprints))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
