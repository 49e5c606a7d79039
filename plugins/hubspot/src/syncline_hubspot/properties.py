"""HubSpot's property definitions → ours, and the creation of missing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.contract import Choice, Code, ConfigError, Kind, ObjectType, Permanent, Property

from .client import PAGE, Client
from .errors import Json, Refused, record_error

LONGEST = 65_536
GROUP = "syncline"
KEY = Property(
    name="syncline_key",
    label="Syncline key",
    schema={"type": "string", "maxLength": 255},
    unique=True,
    group=GROUP,
    description="Identifies the record in Syncline. Do not edit.",
)
# (type, fieldType) HubSpot is asked for when it creates a property of this kind.
CREATED_AS: Final = {
    Kind.STRING: ("string", "text"),
    Kind.EMAIL: ("string", "text"),
    Kind.NUMBER: ("number", "number"),
    Kind.BOOLEAN: ("bool", "booleancheckbox"),
    Kind.DATE: ("date", "date"),
    Kind.DATETIME: ("datetime", "date"),
    Kind.CHOICE: ("enumeration", "select"),
    Kind.SET: ("enumeration", "checkbox"),
}
KINDS: Final = {"number": Kind.NUMBER, "bool": Kind.BOOLEAN, "date": Kind.DATE, "datetime": Kind.DATETIME}
SCHEMAS: Final[dict[Kind, dict[str, Any]]] = {
    Kind.NUMBER: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.EMAIL: {"type": "string", "format": "email"},
}
OWNER: Final = "hubspot_owner_id"
YES_NO = (Choice("true", "Yes"), Choice("false", "No"))


def read(object_key: str, definition: Json, elsewhere: Mapping[str, Sequence[Choice]], required: Sequence[str]) -> Property:
    """`elsewhere`: choices that HubSpot keeps in another place, by property; those of OWNER for all that hold owners."""
    name = definition["name"]
    email = object_key == "contacts" and name == "email"
    kind = Kind.EMAIL if email else kind_of(definition)
    choices = _choices(definition, elsewhere) if kind in (Kind.CHOICE, Kind.SET) else ()
    return Property(
        name=name,
        label=definition.get("label") or name,
        kind=kind,
        schema=schema_of(kind, choices),
        choices=choices,
        read_only=bool((definition.get("modificationMetadata") or {}).get("readOnlyValue")),
        required=name in required,
        # HubSpot says false for a contact's e-mail although it is unique.
        unique=email or bool(definition.get("hasUniqueValue")),
        group=definition.get("groupName", ""),
        description=definition.get("description") or "",
    )


def kind_of(definition: Json) -> Kind:
    if definition["type"] == "enumeration":
        return Kind.SET if definition.get("fieldType") == "checkbox" else Kind.CHOICE
    return KINDS.get(definition["type"], Kind.STRING)


def schema_of(kind: Kind, choices: Sequence[Choice]) -> dict[str, Any]:
    """Without known choices (HubSpot keeps some lists elsewhere) any text passes."""
    one: dict[str, Any] = {"type": "string", **({"enum": [c.value for c in choices]} if choices else {})}
    if kind is Kind.CHOICE:
        return one
    if kind is Kind.SET:
        return {"type": "array", "items": one, "uniqueItems": True}
    return SCHEMAS.get(kind, {"type": "string", "maxLength": LONGEST})


def _choices(definition: Json, elsewhere: Mapping[str, Sequence[Choice]]) -> tuple[Choice, ...]:
    name = OWNER if definition.get("referencedObjectType") == "OWNER" else definition["name"]
    if name in elsewhere:
        return tuple(elsewhere[name])
    return tuple(Choice(o["value"], o.get("label") or o["value"]) for o in definition.get("options") or ())


def create(client: Client, object_type: ObjectType, wanted: Sequence[Property]) -> list[str]:
    """Names of those created; one that exists already is left as it is."""
    _refuse_common_key(object_type, wanted)
    missing = [p for p in wanted if object_type.property(p.name) is None]
    for group in {p.group or GROUP for p in missing}:
        _ensure_group(client, object_type.key, group)
    made: list[str] = []
    for start in range(0, len(missing), PAGE):
        inputs = [_definition(p) for p in missing[start : start + PAGE]]
        answer = client.property_batch.create(object_type.key, {"inputs": inputs})
        made += [result["name"] for result in answer.get("results", ())]
        _raise_refusals(object_type, answer.get("errors") or ())
    return made


def _refuse_common_key(object_type: ObjectType, wanted: Sequence[Property]) -> None:
    for name in (p.name for p in wanted if p.unique):
        existing = object_type.property(name)
        if existing and not existing.unique:
            raise ConfigError(
                f"The property {name} of {object_type.title} exists but is not unique, and HubSpot cannot change that. "
                "Delete or rename it in HubSpot, refresh the catalog and create the missing properties again."
            )


def _ensure_group(client: Client, key: str, group: str) -> None:
    if any(known["name"] == group for known in client.property_groups.get_all(key).get("results", ())):
        return
    try:
        client.property_groups.create(key, {"name": group, "label": group.title()})
    except Refused as error:
        if error.status != 409:  # somebody else made it meanwhile
            raise


def _definition(wanted: Property) -> Json:
    kind, field = CREATED_AS[wanted.kind]
    choices = YES_NO if wanted.kind is Kind.BOOLEAN else wanted.choices
    options = [{"label": c.label, "value": c.value, "displayOrder": n, "hidden": False} for n, c in enumerate(choices)]
    return {
        "name": wanted.name,
        "label": wanted.label,
        "type": kind,
        "fieldType": field,
        "groupName": wanted.group or GROUP,
        "description": wanted.description,
        "hasUniqueValue": wanted.unique,
        **({"options": options} if options else {}),
    }


def _raise_refusals(object_type: ObjectType, errors: Sequence[Json]) -> None:
    refused = [record_error(error) for error in errors]
    told = [error.message for error in refused if error.code is not Code.CONFLICT]
    if told:
        raise Permanent(f"Some properties of {object_type.title} could not be created. {' '.join(told)}")
