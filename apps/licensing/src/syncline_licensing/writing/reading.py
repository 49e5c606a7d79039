"""What one message tells of its customer, or why it is refused. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import orjson
from syncline.contract import Code, DatasetInfo, LocalChange, Op, RecordError, Value

from ..models import LONGEST

TEXTS: Final = ("name", "account_manager", "sales_engineer_id")
MOST_FLAGS: Final = 500
LARGEST: Final = 2**63 - 1
_SKU: Final = re.compile(r"SKU\w{1,60}", re.ASCII)


class Refused(Exception):
    """This message is not applied; the others are."""

    def __init__(self, code: Code, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.error = RecordError(code, message, field)


class Told(NamedTuple):
    """`texts`, `signed`, `flags`: only what the message tells. `at`: as it says, however odd; None when it does not."""

    token: str
    salesforce_id: str
    texts: Mapping[str, str]
    signed: bool | None
    flags: Mapping[str, bool]
    sequence: int | None
    at: dt.datetime | None
    event: str


class Rules:
    """`codes`: of the products that are here, active or not: they must be true or false, as whatever looks like one."""

    def __init__(self, info: DatasetInfo, codes: Collection[str]) -> None:
        self.info, self.codes = info, codes
        self.writable = frozenset(field.name for field in info.fields if field.writable)


def read(change: LocalChange, rules: Rules) -> Told:
    if change.op is not Op.UPSERT:
        raise Refused(Code.OTHER, "Customers are written by messages only. Pull them from a log, such as a topic.")
    values = change.values
    if not values.keys() <= rules.writable:
        raise _unwritable(values, rules)
    return Told(
        change.token,
        _id(values.get("salesforce_id")),
        {name: _text(values[name], name) for name in TEXTS if name in values},
        _signed(values.get("signed_tos")),
        _flags(values.get("flags"), rules.codes),
        _sequence(change.sequence),
        change.at,
        _storable(change.event, "event"),
    )


def looks_like_sku(name: str) -> bool:
    return name.startswith("SKU") and _SKU.fullmatch(name) is not None


def _unwritable(values: Mapping[str, Value], rules: Rules) -> Refused:
    name = min(values.keys() - rules.writable)
    field = rules.info.field(name)
    if field is None:
        return Refused(Code.UNKNOWN_PROPERTY, f"Customers have no field {name}. Remove the rule for it.", name)
    return Refused(Code.READ_ONLY, f"{field.label} is worked out here, and cannot be written. Remove the rule.", name)


def _id(value: Value) -> str:
    if value is None or value == "":
        raise Refused(
            Code.REQUIRED, "The message names no customer: it has no Salesforce id. Correct whoever sends it.", "salesforce_id"
        )
    found = _text(value, "salesforce_id").strip()
    if not found:
        raise Refused(Code.REQUIRED, "The customer's Salesforce id is blank. Correct whoever sends it.", "salesforce_id")
    return found


def _text(value: Value, field: str) -> str:
    if value is None:
        return ""
    if type(value) is str and len(value) <= LONGEST and value.isascii() and "\0" not in value:
        return value
    if not isinstance(value, str):
        raise Refused(Code.INVALID_VALUE, f"{field} is no text. Correct it there, or map another property.", field)
    if len(value) > LONGEST:
        sentence = (
            f"{field} has {len(value)} characters; at most {LONGEST} are allowed here. Shorten it there, or let the rule do it."
        )
        raise Refused(Code.TOO_LONG, sentence, field)
    return _storable(value, field)


def _storable(value: str, field: str) -> str:
    if "\0" in value or not (value.isascii() or _encodes(value)):
        raise Refused(Code.INVALID_VALUE, f"{field} has characters that cannot be stored here. Correct it there.", field)
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _signed(value: Value) -> bool | None:
    """None changes nothing: whether terms are signed is not guessed from silence."""
    if value is None or isinstance(value, bool):
        return value
    raise Refused(Code.INVALID_VALUE, "Whether the terms are signed must be true or false. Correct it there.", "signed_tos")


def _flags(value: Value, codes: Collection[str]) -> Mapping[str, bool]:
    if value is None:
        return {}
    flags: dict[str, bool] = {}
    wrong: list[str] = []
    for name, one in _object(value).items():
        if isinstance(one, bool):
            if len(name) <= LONGEST and "\0" not in name:
                flags[name] = one
        elif name in codes or looks_like_sku(name):
            wrong.append(name)
    if wrong:
        sentence = f"{', '.join(sorted(wrong)[:5])} must be true or false. Correct it there."
        raise Refused(Code.INVALID_VALUE, sentence, "flags")
    if len(flags) > MOST_FLAGS:
        raise Refused(Code.TOO_LONG, f"The message has {len(flags)} flags; at most {MOST_FLAGS} are kept here.", "flags")
    return flags


def _object(value: Value) -> dict[str, object]:
    try:
        told = orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise Refused(Code.INVALID_VALUE, "The flags are no JSON object. Map the whole message to them.", "flags")
    return told


def _sequence(value: int | None) -> int | None:
    if value is not None and not -LARGEST <= value <= LARGEST:
        raise Refused(Code.INVALID_VALUE, "The message's sequence is larger than any that is counted here.")
    return value
