"""The catalog: which objects an account offers, and what their fields are, as Salesforce describes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from syncline.contract import Choice, ConfigError, Kind, ObjectType, Op, Permanent, Property, Retryable

from .bulk import ROWS
from .client import Client
from .errors import Json
from .wire import STAMP

KEY: Final = "Syncline_Key__c"
BATCH: Final = 200
PAGE: Final = 2000
TOGETHER: Final = 25
LAG: Final = 60.0  # a transaction dates its records when it saves them, and may end that much later
KINDS: Final = {
    "boolean": Kind.BOOLEAN,
    "currency": Kind.NUMBER,
    "date": Kind.DATE,
    "datetime": Kind.DATETIME,
    "double": Kind.NUMBER,
    "email": Kind.EMAIL,
    "int": Kind.NUMBER,
    "long": Kind.NUMBER,
    "multipicklist": Kind.SET,
    "percent": Kind.NUMBER,
    "picklist": Kind.CHOICE,
}
#: Made of other fields, or no values of a record: addresses and names are there in parts too.
LEFT_OUT: Final = frozenset({"address", "anyType", "base64", "complexvalue", "json", "location"})
SCHEMAS: Final[dict[Kind, Json]] = {
    Kind.NUMBER: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
}


def discover(client: Client) -> list[ObjectType]:
    listed = client.get("/sobjects").get("sobjects") or []
    names, known = [one["name"] for one in listed if _offered(one)], {one["name"] for one in listed}
    counts = _counts(client, names)
    found = [object_type(one, counts.get(one["name"])) for one in _described(client, names)]
    return [replace(one, follow=change_event(one.key) in known) for one in found]


def change_event(key: str) -> str:
    """The object of its change events: an account has one for each object that Change Data Capture can be chosen for."""
    return f"{key.removesuffix('__c')}__ChangeEvent" if key.endswith("__c") else f"{key}ChangeEvent"


def _offered(listed: Json) -> bool:
    """Hundreds of objects are Salesforce's own workings: what people work with has a page layout, or was made by them."""
    usable = listed.get("queryable") and listed.get("retrieveable") and not listed.get("deprecatedAndHidden")
    return bool(usable and (listed.get("custom") or listed.get("layoutable")) and not listed.get("customSetting"))


def _described(client: Client, names: Sequence[str]) -> Iterator[Json]:
    for start in range(0, len(names), TOGETHER):
        some = names[start : start + TOGETHER]
        for name, found in zip(some, client.batch([f"/sobjects/{name}/describe" for name in some]), strict=True):
            described = found.get("result")
            if found.get("statusCode") == 200 and isinstance(described, dict) and isinstance(described.get("fields"), list):
                yield described
            elif found.get("statusCode") != 404:  # deleted since it was listed
                raise Retryable(f"Salesforce did not describe its object {name} (answer {found.get('statusCode')}).")


def _counts(client: Client, names: Sequence[str]) -> dict[str, int]:
    """Not every user may see them, and nothing depends on them."""
    try:
        told = client.get("/limits/recordCount", sObjects=",".join(names)) if names else {}
    except (ConfigError, Permanent):
        return {}
    return {one["name"]: one["count"] for one in told.get("sObjects") or ()}


def object_type(described: Json, count: int | None) -> ObjectType:
    fields = {field["name"]: field for field in described["fields"] if field.get("type") not in LEFT_OUT}
    own = fields.get(KEY) or {}
    key = KEY if own.get("externalId") and own.get("unique") and own.get("createable") and own.get("updateable") else None
    sizes = _sizes(described, key)
    return ObjectType(
        key=described["name"],
        title=described.get("labelPlural") or described.get("label") or described["name"],
        properties=tuple(property_of(field) for field in fields.values()),
        batch_sizes=sizes,
        visibility_lag=LAG,
        unique_key=key,
        page_size=PAGE,
        count=count,
        bulk_rows=ROWS if Op.UPSERT in sizes else 0,
        pull_since=STAMP in fields,
        pull_archived="IsDeleted" in fields,
    )


def _sizes(described: Json, key: str | None) -> dict[Op, int]:
    """Salesforce's delete puts a record into the recycle bin, which is our ARCHIVE."""
    can = {
        Op.CREATE: described.get("createable"),
        Op.UPDATE: described.get("updateable"),
        Op.UPSERT: key and described.get("createable") and described.get("updateable"),
        Op.ARCHIVE: described.get("deletable"),
    }
    return {op: BATCH for op, able in can.items() if able}


def property_of(field: Json) -> Property:
    kind = KINDS.get(field["type"], Kind.STRING)
    values = [value for value in field.get("picklistValues") or () if value.get("active")]
    choices = {value["value"]: Choice(value["value"], value.get("label") or value["value"]) for value in values}
    shown = tuple(choices.values()) if kind in (Kind.CHOICE, Kind.SET) else ()
    writable = field.get("createable") or field.get("updateable")
    return Property(
        name=field["name"],
        label=field.get("label") or field["name"],
        kind=kind,
        schema=_schema(field, kind, list(choices)),
        choices=shown,
        read_only=not writable,
        required=bool(field.get("createable") and not field.get("nillable") and not field.get("defaultedOnCreate")),
        unique=bool(field.get("unique")) or field["type"] == "id",
        description=field.get("inlineHelpText") or "",
    )


def _schema(field: Json, kind: Kind, choices: list[str]) -> dict[str, Any]:
    """A picklist that is not restricted takes any text."""
    allowed: dict[str, Any] = {"enum": choices} if field.get("restrictedPicklist") and choices else {"type": "string"}
    if kind is Kind.CHOICE:
        return allowed
    if kind is Kind.SET:
        return {"type": "array", "items": allowed}
    longest = {"maxLength": field["length"]} if field.get("length") else {}
    return dict(SCHEMAS.get(kind) or {"type": "string", **longest})
