"""Custom object types: creating and reading them."""

from __future__ import annotations

import re

from .clock import iso
from .definitions import default_definitions
from .portal import USER_ID
from .properties import created
from .records import Kind, Table
from .wire import Call, Json, Reply, error, invalid, not_found_json


def list_schemas(call: Call) -> Reply:
    """Custom types only; an account without any answers an empty list."""
    return Reply(200, {"results": [_shown(call, type_id) for type_id in call.portal.schemas]})


def get_schema(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    if table.kind.type_id in call.portal.schemas:
        return Reply(200, _shown(call, table.kind.type_id))
    return Reply(200, _built_in(table))


def _shown(call: Call, type_id: str) -> Json:
    return {**call.portal.schemas[type_id], "properties": list(call.portal.table(type_id).definitions.values())}


def _built_in(table: Table) -> Json:
    kind = table.kind
    return {
        "labels": {"singular": kind.label, "plural": kind.name.title()},
        "requiredProperties": list(kind.needs_all),
        "searchableProperties": [],
        "primaryDisplayProperty": kind.shown[0],
        "secondaryDisplayProperties": [],
        "archived": False,
        "id": kind.type_id.partition("-")[2],
        "fullyQualifiedName": kind.code,
        "objectTypeId": kind.type_id,
        "properties": list(table.definitions.values()),
        "associations": [],
        "name": kind.code,
    }


def create_schema(call: Call) -> Reply:
    given = call.body()
    name = str(given.get("name", ""))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or not given.get("labels"):
        raise invalid("A custom object needs a name of letters, digits and underscores, and labels")
    if name.lower() in call.portal.tables:
        raise error(409, f"An object type named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    number = 2_000_001 + len(call.portal.schemas)
    table = _add(call, name, f"2-{number}", given)
    stamp = iso(call.portal.clock.now())
    call.portal.schemas[table.kind.type_id] = {
        "labels": given["labels"],
        "description": given.get("description", ""),
        "requiredProperties": list(table.kind.needs_all),
        "searchableProperties": given.get("searchableProperties", []),
        "primaryDisplayProperty": given.get("primaryDisplayProperty", table.kind.shown[0] if table.kind.shown else ""),
        "secondaryDisplayProperties": given.get("secondaryDisplayProperties", []),
        "archived": False,
        "id": str(number),
        "fullyQualifiedName": f"p{call.portal.id}_{name}",
        "objectTypeId": table.kind.type_id,
        "associations": [],
        "name": name,
        "createdByUserId": USER_ID,
        "updatedByUserId": USER_ID,
        "createdAt": stamp,
        "updatedAt": stamp,
    }
    return Reply(201, _shown(call, table.kind.type_id))


def _add(call: Call, name: str, type_id: str, given: Json) -> Table:
    label = given["labels"].get("singular", name)
    properties = given.get("properties", [])
    kind = Kind(
        type_id,
        name,
        f"p{call.portal.id}_{name}",
        label,
        shown=tuple(each["name"] for each in properties),
        needs_all=tuple(given.get("requiredProperties", [])),
    )
    table = call.portal.add_table(kind, default_definitions(name))
    group = f"{name}_information"
    for each in properties:
        created(call, table, {"groupName": group, **each})
    return table


def archive_schema(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    if table.kind.type_id not in call.portal.schemas:
        raise not_found_json()
    if any(record.archived_at is None for record in table.records.values()):
        raise invalid(f"Object type {table.kind.name} still has records")
    del call.portal.schemas[table.kind.type_id]
    for alias in [alias for alias, held in call.portal.tables.items() if held is table]:
        del call.portal.tables[alias]
    return Reply(204)
