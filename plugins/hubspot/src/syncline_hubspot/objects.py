"""What the account offers: companies, contacts, deals, its own custom objects, and owners to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from syncline.contract import AssociationType, Choice, ConfigError, ObjectType, Op, Permanent, Retryable, Session

from . import changes, owners, properties
from .bulk import MATCHES, ROWS, TYPE_IDS
from .client import PAGE, Client
from .errors import Json

BATCH_SIZES: Final = {Op.CREATE: PAGE, Op.UPDATE: PAGE, Op.UPSERT: PAGE, Op.ARCHIVE: PAGE, Op.ASSOCIATE: 2000}
# HubSpot deletes for good one contact at a time; other records can be archived.
PURGED: Final[Mapping[str, Mapping[Op, int]]] = {"contacts": {Op.DELETE: 1}}
VISIBILITY_LAG = 40.0  # seconds; a new record was seen to take up to 39 to become searchable


@dataclass(frozen=True, slots=True)
class _Kind:
    key: str
    title: str
    required: tuple[str, ...] = ()
    associated: tuple[str, ...] = ()


STANDARD: Final = {
    "0-2": _Kind("companies", "Companies", (), ("contacts", "deals")),
    "0-1": _Kind("contacts", "Contacts", (), ("companies", "deals")),
    "0-3": _Kind("deals", "Deals", ("dealname", "dealstage"), ("companies", "contacts")),
}


def discover(session: Session) -> list[ObjectType]:
    client = Client(session)
    people = owners.known(session, client)
    choices = [owners.choice(raw) for raw in people or ()]
    found, refused = [], []
    for kind in kinds(session, client):
        try:
            found.append(_object_type(session, client, kind, choices))
        except ConfigError as error:  # no scope for this one: the others are still of use
            session.log.warning("%s left out of the catalog: %s", kind.title, error)
            refused.append(error)
    if people is not None:
        found.append(owners.object_type(len(people)))
    if not found:
        raise refused[0]
    return found


def _object_type(session: Session, client: Client, kind: _Kind, people: Sequence[Choice]) -> ObjectType:
    definitions = client.properties.get_all(kind.key)["results"]
    elsewhere = {properties.OWNER: people, **(_stages(session, client) if kind.key == "deals" else {})}
    known = tuple(properties.read(kind.key, definition, elsewhere, kind.required) for definition in definitions)
    ours = any(p.name == properties.KEY.name and p.unique for p in known)
    wanted = session.settings.get("own_key", True)
    return ObjectType(
        key=kind.key,
        title=kind.title,
        properties=known,
        batch_sizes={**BATCH_SIZES, **PURGED.get(kind.key, {})},
        visibility_lag=VISIBILITY_LAG,
        unique_key=properties.KEY.name if ours and wanted else None,
        key_property=properties.KEY if wanted else None,
        associations=tuple(AssociationType(key) for key in kind.associated),
        page_size=PAGE,
        count=_count(session, client, kind.key),
        bulk_rows=ROWS if kind.key in TYPE_IDS else 0,
        bulk_match=MATCHES.get(kind.key, ()),
        pull_since=any(p.name == changes.modified(kind.key) for p in known),
        pull_archived=True,
        pull_history=True,
    )


def kinds(session: Session, client: Client) -> list[_Kind]:
    """Every kind with what it can be associated with, whichever side says so."""
    known = [*STANDARD.values(), *_custom(session, client)]
    there = {kind.key: [other.key for other in known if kind.key in other.associated] for kind in known}
    return [replace(kind, associated=tuple(dict.fromkeys((*kind.associated, *there[kind.key])))) for kind in known]


def _custom(session: Session, client: Client) -> list[_Kind]:
    try:
        schemas = client.schemas.get_all().get("results", [])
    except ConfigError as error:
        session.log.info("Custom objects left out of the catalog: %s", error)
        return []
    names = {type_id: kind.key for type_id, kind in STANDARD.items()}
    names |= {schema["objectTypeId"]: schema["objectTypeId"] for schema in schemas}
    return [_custom_kind(schema, names) for schema in schemas if not schema.get("archived")]


def _custom_kind(schema: Json, names: dict[str, str]) -> _Kind:
    """Its key is the type id: webhooks name custom objects by nothing else."""
    own = schema["objectTypeId"]
    ends = [{a["fromObjectTypeId"], a["toObjectTypeId"]} - {own} for a in schema.get("associations") or ()]
    associated = dict.fromkeys(names[end] for pair in ends for end in pair if end in names)
    title = (schema.get("labels") or {}).get("plural") or schema["name"]
    return _Kind(own, title, tuple(schema.get("requiredProperties") or ()), tuple(associated))


def _stages(session: Session, client: Client) -> dict[str, list[Choice]]:
    """Pipelines and their stages, which HubSpot does not list with the properties that hold them; empty without the scope."""
    try:
        pipelines = client.pipelines.get_all("deals").get("results", [])
    except ConfigError as error:
        session.log.info("Pipelines and stages are not offered as choices: %s", error)
        return {}
    several = len(pipelines) > 1
    stages = [
        Choice(str(stage["id"]), f"{one['label']}: {stage['label']}" if several else stage["label"])
        for one in pipelines
        for stage in one.get("stages") or ()
        if not stage.get("archived")
    ]
    return {"pipeline": [Choice(str(one["id"]), one["label"]) for one in pipelines], "dealstage": stages}


def _count(session: Session, client: Client, key: str) -> int | None:
    try:
        return int(client.search.do_search(key, {"limit": 1})["total"])
    except (ConfigError, Permanent, Retryable) as error:
        session.log.info("The number of %s is not known: %s", key, error)
        return None
