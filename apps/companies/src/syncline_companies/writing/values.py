"""What a canonical value is in a column, or why it may not be: the rules of the forms, for records that come one by one."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from syncline.contract import Code, RecordError, Value
from syncline.contract.normalise import domain

#: From the value that is not None, and the field's name, to what the column holds.
Reader = Callable[[Any, str], Any]
CENT: Final = Decimal("0.01")
_NUMBER: Final = re.compile(r"[A-Z0-9]{0,8}")


class Refused(Exception):
    """This record is not stored; the others are."""

    def __init__(self, code: Code, message: str, field: str | None = None, existing: str | None = None) -> None:
        super().__init__(message)
        self.error = RecordError(code, message, field, existing_id=existing)


def required(field: str, label: str) -> Refused:
    return Refused(Code.REQUIRED, f"{label} is missing. Fill it in there, or add a rule that gives it.", field)


def same_text(stored: str, value: Value) -> bool:
    """Whether the column already holds it, as the host would read it: what came from here before is not judged again."""
    return (stored if stored.isascii() else unicodedata.normalize("NFC", stored)) == (value or "")


def text(longest: int | None = None) -> Reader:
    def read(value: Any, field: str) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise Refused(Code.INVALID_VALUE, "It is no text that can be stored here. Correct it there.", field)
        if longest is not None and len(value) > longest:
            raise Refused(
                Code.TOO_LONG,
                f"It has {len(value)} characters; at most {longest} are allowed here. Shorten it there, or let the rule do it.",
                field,
            )
        return value

    return read


def website(value: Any, field: str) -> str:
    if not domain(found := str(text(200)(value, field))):
        raise Refused(Code.INVALID_VALUE, "It is no web address such as www.example.co.uk. Correct or clear it there.", field)
    return found


def house_number(value: Any, field: str) -> str:
    """In capitals and without white space around it, as the forms leave it."""
    found = str(text()(value, field)).strip().upper()
    if not _NUMBER.fullmatch(found):
        sentence = "A Companies House number has up to eight letters and digits, such as SC123456. Correct or clear it there."
        raise Refused(Code.INVALID_VALUE, sentence, field)
    return found


def email(value: Any, field: str) -> str:
    found = str(text(254)(value, field)).strip().lower()
    try:
        validate_email(found)
    except ValidationError:
        raise Refused(Code.INVALID_VALUE, "It is no e-mail address. Correct or clear it there.", field) from None
    return found


def one_of(choices: list[str]) -> Reader:
    def read(value: Any, field: str) -> str:
        if value not in choices:
            raise Refused(Code.INVALID_CHOICE, f"It is none of {', '.join(choices)}. Let the rule map the choices.", field)
        return str(value)

    return read


def date(value: Any, field: str) -> dt.date:
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise Refused(Code.INVALID_VALUE, "It is no date in the form YYYY-MM-DD. Correct it there.", field) from None


def past_date(today: dt.date) -> Reader:
    def read(value: Any, field: str) -> dt.date:
        if (found := date(value, field)) > today:
            raise Refused(Code.INVALID_VALUE, "A company cannot be founded in the future. Correct it there.", field)
        return found

    return read


def money(digits: int) -> Reader:
    """Rounded to cents, half up. `digits`: of the whole column, cents included."""
    largest = Decimal(10) ** (digits - 2) - CENT

    def read(value: Any, field: str) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise Refused(Code.INVALID_VALUE, "It is no number. Correct it there.", field)
        if not 0 <= value <= largest:
            raise Refused(Code.INVALID_VALUE, f"An amount is between 0 and {largest:,}. Correct it there.", field)
        return Decimal(value).quantize(CENT, ROUND_HALF_UP)

    return read
