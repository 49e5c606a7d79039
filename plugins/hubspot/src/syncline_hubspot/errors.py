"""HubSpot's error bodies → our errors, with what to do next."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from syncline.contract import Code, ConfigError, Permanent, RecordError, Response

Json = dict[str, Any]

CODES: Final = {
    "PROPERTY_DOESNT_EXIST": Code.UNKNOWN_PROPERTY,
    "READ_ONLY_VALUE": Code.READ_ONLY,
    "INVALID_OPTION": Code.INVALID_CHOICE,
    "INVALID_STRING_LENGTH": Code.TOO_LONG,
    "CONFLICTING_UNIQUE_VALUE": Code.CONFLICT,
    "CONFLICT": Code.CONFLICT,
    "OBJECT_ALREADY_EXISTS": Code.CONFLICT,
    "OBJECT_NOT_FOUND": Code.NOT_FOUND,
}
NEXT: Final = {
    Code.UNKNOWN_PROPERTY: "Create the property in HubSpot or take it out of the mapping, then refresh the catalog.",
    Code.READ_ONLY: "HubSpot computes this property; take it out of the mapping.",
    Code.INVALID_CHOICE: "Add the option in HubSpot and refresh the catalog, or map the value with a choice map.",
    Code.INVALID_VALUE: "Correct the value in the record, or add a transform to the field's rule.",
    Code.TOO_LONG: "Shorten the value, or add the transform truncate to the field's rule.",
    Code.CONFLICT: "Another record holds this value: link that one, or merge the two in HubSpot.",
    Code.NOT_FOUND: "The record was deleted or merged in HubSpot.",
    Code.REQUIRED: "Map a value to what the account requires.",
    Code.SEVERAL: "Merge them in HubSpot, or link one of them by hand.",
    Code.OTHER: "See HubSpot's message.",
}
_EXISTING = re.compile(r"Existing ID: (\d+)")


class Refused(Permanent):
    """HubSpot refused the whole request. `details`: its answer, {} when that was a page."""

    def __init__(self, message: str, status: int, details: Json) -> None:
        super().__init__(message)
        self.status, self.details = status, details


def failure(response: Response) -> Exception:
    """The error an answer other than a 2xx stands for."""
    try:
        details = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        details = {}
    what = f"HubSpot answered {response.status} to {response.method} {response.path}"
    if response.status == 403:
        return ConfigError(_forbidden(details, what))
    if "non-unique" in str(details.get("message")):
        return ConfigError(f"{what}: {details['message']}. Refresh the catalog and create the missing properties again.")
    return Refused(f"{what}: {_sentence(details) or 'no reason given'}", response.status, details)


def record_error(details: Json) -> RecordError:
    """One error of a batch's answer, or of an answer about a single record."""
    fault, missing = _fault(details), context(details, "properties")
    vendor = fault.get("code") or details.get("subCategory") or details.get("category")
    code = Code.REQUIRED if missing else _code(vendor, details.get("category"))
    name = fault.get("property") or (missing[0] if len(missing) == 1 else None)
    about = f"{name or ' or '.join(missing)}: " if name or missing else ""
    message = f"HubSpot refused {about}{_sentence(details) or 'the record.'} {NEXT[code]}"
    return RecordError(code, message, name, str(vendor) if vendor else None, existing_id(details))


def existing_id(details: Json) -> str | None:
    named = context(details, "existingId")
    found = _EXISTING.search(str(details.get("message", "")))
    return named[0] if named else found[1] if found else None


def context(details: Json, name: str) -> list[str]:
    """Values HubSpot attached to an error, as text."""
    return [str(value) for value in (details.get("context") or {}).get(name) or ()]


def _code(*vendor: Any) -> Code:
    words = [str(word).rpartition(".")[2] for word in vendor]  # `crm.associations.OBJECT_NOT_FOUND`
    known = next((CODES[word] for word in words if word in CODES), None)
    if known:
        return known
    return Code.INVALID_VALUE if any(word.startswith("INVALID_") for word in words) else Code.OTHER


def _fault(details: Json) -> dict[str, str]:
    """Code, property and sentence of the first fault: in `errors`, or as JSON inside the message."""
    for error in details.get("errors") or ():
        names = context(error, "propertyName")
        return {"code": error.get("code", ""), "property": names[0] if names else "", "message": error.get("message", "")}
    head, bracket, tail = str(details.get("message", "")).partition("[{")
    try:
        inner = orjson.loads(bracket + tail)[0]
    except (orjson.JSONDecodeError, IndexError):
        return {}
    return {"code": inner.get("error", ""), "property": inner.get("name", ""), "message": inner.get("message", head)}


def _sentence(details: Json) -> str:
    text = _fault(details).get("message") or str(details.get("message") or "")
    return text[:300].rstrip(". ") + "." if text else ""


def _forbidden(details: Json, what: str) -> str:
    places = [details, *(details.get("errors") or ())]
    scopes = [scope for place in places for key in ("requiredGranularScopes", "requiredScopes") for scope in context(place, key)]
    needed = ", ".join(dict.fromkeys(scopes)) or _sentence(details) or "not named"
    return f"{what}. Missing scopes: {needed.rstrip('.')}. Add them to the app or key in HubSpot, then reconnect the account."
