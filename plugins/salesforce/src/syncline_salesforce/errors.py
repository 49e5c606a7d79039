"""Salesforce's refusals → our errors, with what to do next. Requests are refused by a list of faults, records by one each."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from syncline.contract import Code, ConfigError, Permanent, RateLimited, RecordError, Response, Retryable

Json = dict[str, Any]

CODES: Final = {
    "DUPLICATE_EXTERNAL_ID": Code.CONFLICT,
    "DUPLICATE_VALUE": Code.CONFLICT,
    "DUPLICATES_DETECTED": Code.CONFLICT,
    "ENTITY_IS_DELETED": Code.NOT_FOUND,
    "INVALID_FIELD": Code.UNKNOWN_PROPERTY,
    "INVALID_FIELD_FOR_INSERT_UPDATE": Code.READ_ONLY,
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": Code.INVALID_CHOICE,
    "MALFORMED_ID": Code.INVALID_VALUE,
    "NOT_FOUND": Code.NOT_FOUND,
    "NUMBER_OUTSIDE_VALID_RANGE": Code.INVALID_VALUE,
    "REQUIRED_FIELD_MISSING": Code.REQUIRED,
    "STRING_TOO_LONG": Code.TOO_LONG,
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": Code.INVALID_VALUE,
    "FIELD_INTEGRITY_EXCEPTION": Code.INVALID_VALUE,
    "JSON_PARSER_ERROR": Code.INVALID_VALUE,
}
NEXT: Final = {
    Code.UNKNOWN_PROPERTY: "Create the field in Salesforce or take it out of the mapping, then refresh the catalog.",
    Code.READ_ONLY: "Salesforce or the user's permissions forbid it; take it out of the mapping, or grant it to the user.",
    Code.INVALID_CHOICE: "Add the value to the picklist and refresh the catalog, or map the value with a choice map.",
    Code.INVALID_VALUE: "Correct the value in the record, or add a transform to the field's rule.",
    Code.TOO_LONG: "Shorten the value, or add the transform truncate to the field's rule.",
    Code.CONFLICT: "Link the record that is there, merge the two in Salesforce, or change its duplicate rule.",
    Code.NOT_FOUND: "The record was deleted or merged in Salesforce.",
    Code.REQUIRED: "Map a value to what Salesforce requires.",
    Code.OTHER: "See Salesforce's message.",
}
#: Nothing was written, and it may be sent again as it is.
LATER: Final = frozenset({"UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT", "SERVER_UNAVAILABLE", "TXN_SECURITY_METERING_ERROR"})
AT_ONCE: Final = 30.0  # too many calls that take long are going on
USED_UP: Final = 900.0  # the allowance is of the last 24 hours, so that it frees itself bit by bit
_ID = re.compile(r"\bid: ([a-zA-Z0-9]{15,18})\b")


class Refused(Permanent):
    """Salesforce refused the whole request. `fault`: the first of its reasons, {} when it gave none that can be read."""

    def __init__(self, message: str, status: int, fault: Json) -> None:
        super().__init__(message)
        self.status, self.fault = status, fault


def failure(response: Response) -> Exception:
    """The error an answer other than a 2xx stands for."""
    fault = _first(response.body)
    word, said = str(fault.get("errorCode") or ""), _sentence(fault)
    what = f"Salesforce answered {response.status} to {response.method} {response.path} ({word or 'no reason given'})"
    if word == "REQUEST_LIMIT_EXCEEDED":
        return RateLimited(f"{what}. {said}", AT_ONCE if "oncurrent" in said else USED_UP, "daily")
    if word in LATER:
        return Retryable(f"{what}. {said}", AT_ONCE)
    if response.status in (301, 302, 307, 308):
        return ConfigError(f"{what}: the account is found elsewhere. Correct its My Domain address in the settings.")
    if response.status == 403:
        return ConfigError(f"{what}: {said or 'forbidden.'} Give the user of this connection the permission, then try again.")
    return Refused(f"{what}: {said or 'see its log.'}", response.status, fault)


def record_error(fault: Json) -> RecordError:
    """Of a record in a collection (`statusCode`), or of a request about one record (`errorCode`)."""
    vendor = str(fault.get("statusCode") or fault.get("errorCode") or "")
    names = [str(name) for name in fault.get("fields") or ()]
    code = _code(vendor, names)
    about = f"{' or '.join(names)}: " if names else ""
    message = f"Salesforce refused {about}{_sentence(fault) or 'the record.'} {NEXT[code]}"
    return RecordError(code, message, names[0] if len(names) == 1 else None, vendor or None, _existing(fault))


def _code(vendor: str, names: list[str]) -> Code:
    """An id that leads nowhere is the record's own, unless a field is named that holds it."""
    if vendor == "INVALID_CROSS_REFERENCE_KEY":
        return Code.INVALID_VALUE if set(names) - {"Id"} else Code.NOT_FOUND
    return CODES.get(vendor, Code.INVALID_VALUE if vendor.startswith("INVALID_") else Code.OTHER)


def _existing(fault: Json) -> str | None:
    """The record that is in the way: in the sentence, or in what a duplicate rule tells."""
    if found := _ID.search(str(fault.get("message") or "")):
        return found[1]
    try:
        return str(fault["duplicateResult"]["matchResults"][0]["matchRecords"][0]["record"]["Id"])
    except (KeyError, IndexError, TypeError):
        return None


def _first(body: bytes) -> Json:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    first = told[0] if isinstance(told, list) and told else told
    return first if isinstance(first, dict) else {}


def _sentence(fault: Json) -> str:
    """Salesforce's messages begin with the request's own text up to an empty line, when a query is refused."""
    text = " ".join(str(fault.get("message") or "").split())
    return text[-300:].rstrip(". ") + "." if text else ""
