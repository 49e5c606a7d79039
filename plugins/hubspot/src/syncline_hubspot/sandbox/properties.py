"""Property definitions and their groups."""

from __future__ import annotations

import re

from .clock import iso
from .definitions import definition
from .portal import USER_ID
from .records import Table
from .wire import ApiError, Call, Json, Reply, error, invalid, not_found_json

MOST_UNIQUE = 10
_FIELD_TYPES: dict[str, frozenset[str]] = {
    "bool": frozenset({"booleancheckbox", "calculation_equation"}),
    "enumeration": frozenset({"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"date"}),
    "string": frozenset({"text", "textarea", "html", "phonenumber", "file", "calculation_equation"}),
    "number": frozenset({"number", "calculation_equation"}),
    "phone_number": frozenset({"phonenumber"}),
}
_REQUIRED = ("name", "label", "type", "fieldType", "groupName")
_TAKEN = ("label", "description", "displayOrder", "hidden", "formField", "hasUniqueValue", "dataSensitivity", "externalOptions")
_BOOLEAN = ({"label": "Yes", "value": "true"}, {"label": "No", "value": "false"})


def _table(call: Call) -> Table:
    return call.portal.table(call.args["type"])


def list_properties(call: Call) -> Reply:
    archived = call.query.get("archived") == "true"
    return Reply(200, {"results": [] if archived else list(_table(call).definitions.values())})


def get_property(call: Call) -> Reply:
    return Reply(200, _existing(_table(call), call.args["name"]))


def _existing(table: Table, name: str) -> Json:
    if name not in table.definitions:
        raise not_found_json()
    return table.definitions[name]


def create_property(call: Call) -> Reply:
    return Reply(201, created(call, _table(call), call.body()))


def created(call: Call, table: Table, given: Json) -> Json:
    """Defines one property; raises the answer that refuses it."""
    _check(table, given)
    stamp = iso(call.portal.clock.now())
    wanted = {name: given[name] for name in (*_REQUIRED, *_TAKEN) if given.get(name) is not None}
    options = [_option(each, place) for place, each in enumerate(_options_of(given))]
    whole = definition(wanted, read_only=False, built_in=False, options=options)
    user = str(USER_ID)
    whole |= {"createdUserId": user, "updatedUserId": user, "createdAt": stamp, "updatedAt": stamp}
    table.define(whole)
    return whole


def _options_of(given: Json) -> list[Json]:
    options = list(given.get("options") or [])
    return options or ([dict(each) for each in _BOOLEAN] if given["type"] == "bool" else [])


def _option(given: Json, place: int) -> Json:
    return {"displayOrder": place, "hidden": False, "description": "", **given}


def _check(table: Table, given: Json) -> None:
    missing = [name for name in _REQUIRED if not given.get(name)]
    if missing:
        raise invalid(f"Property definition is missing required fields: {', '.join(missing)}", context={"missing": missing})
    name = given["name"]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        raise invalid(f"Property name '{name}' is invalid: lower-case letters, digits and underscores, starting with a letter")
    if given["fieldType"] not in _FIELD_TYPES.get(given["type"], ()):
        raise invalid(f"Field type {given['fieldType']} does not go with type {given['type']}")
    if given["groupName"] not in table.groups:
        raise invalid(f"Property group '{given['groupName']}' does not exist")
    if name in table.definitions:
        raise _exists(name)
    if given.get("hasUniqueValue") and len(_own_unique(table)) >= MOST_UNIQUE:
        raise invalid(f"{table.kind.code} already has the maximum of {MOST_UNIQUE} unique properties")


def _own_unique(table: Table) -> list[str]:
    own = table.definitions.values()
    return [each["name"] for each in own if each["hasUniqueValue"] and not each.get("hubspotDefined")]


def _exists(name: str) -> ApiError:
    return error(
        409,
        f"A property named '{name}' already exists.",
        "OBJECT_ALREADY_EXISTS",
        subCategory="Properties.PROPERTY_WITH_NAME_EXISTS",
        context={"name": [name]},
    )


def update_property(call: Call) -> Reply:
    table = _table(call)
    old = _existing(table, call.args["name"])
    if old["modificationMetadata"]["readOnlyDefinition"]:
        raise invalid(f"Property {old['name']} is defined by HubSpot and cannot be changed")
    return Reply(200, changed(call, table, old, call.body()))


def changed(call: Call, table: Table, old: Json, given: Json) -> Json:
    fixed = ("name", "hasUniqueValue", "options", "modificationMetadata")
    changes = {name: value for name, value in given.items() if name not in fixed and name in old}
    if "options" in given:
        changes["options"] = [_option(each, place) for place, each in enumerate(given["options"])]
    table.define({**old, **changes, "updatedAt": iso(call.portal.clock.now())})
    return table.definitions[old["name"]]


def archive_property(call: Call) -> Reply:
    table = _table(call)
    _remove(table, _existing(table, call.args["name"]))
    return Reply(204)


def _remove(table: Table, held: Json) -> None:
    if not held["modificationMetadata"]["archivable"]:
        raise invalid(f"Property {held['name']} is defined by HubSpot and cannot be archived")
    table.undefine(held["name"])


# batches


def _batch(call: Call, status: int, results: list[Json], errors: list[Json]) -> Reply:
    stamp = iso(call.portal.clock.now())
    body: Json = {"completedAt": stamp, "status": "COMPLETE", "startedAt": stamp, "results": results}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return Reply(207 if errors else status, body)


def _inputs(call: Call) -> list[Json]:
    inputs = call.body().get("inputs")
    if not isinstance(inputs, list) or len(inputs) > 100:
        raise invalid("`inputs` must be an array of at most 100 entries")
    return inputs


def batch_create(call: Call) -> Reply:
    """Each property for itself: the ones refused are listed as errors beside those created."""
    table, results, errors = _table(call), [], []
    for given in _inputs(call):
        try:
            results.append(created(call, table, given))
        except ApiError as refused:
            errors.append({name: value for name, value in refused.reply.payload.items() if name != "correlationId"})
    return _batch(call, 200 if call.dated else 201, results, errors)


def batch_read(call: Call) -> Reply:
    table = _table(call)
    names = [str(each.get("name")) for each in _inputs(call)]
    missing = [name for name in names if name not in table.definitions]
    message = "Could not get some properties, they may be deleted or not exist."
    error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"names": missing}}
    results = [table.definitions[name] for name in names if name in table.definitions]
    return _batch(call, 200, results, [error] if missing else [])


def batch_archive(call: Call) -> Reply:
    table = _table(call)
    for held in [table.definitions.get(str(each.get("name"))) for each in _inputs(call)]:
        if held:
            _remove(table, held)
    return Reply(204)


# groups


def list_groups(call: Call) -> Reply:
    return Reply(200, {"results": list(_table(call).groups.values())})


def get_group(call: Call) -> Reply:
    group = _table(call).groups.get(call.args["group"])
    if group is None:
        raise not_found_json()
    return Reply(200, group)


def create_group(call: Call) -> Reply:
    table, given = _table(call), call.body()
    name, label = given.get("name"), given.get("label")
    if not name or not label:
        raise invalid("A property group needs a name and a label")
    if name in table.groups:
        raise error(409, f"A property group named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    order = given.get("displayOrder", len(table.groups))
    table.groups[name] = {"name": name, "label": label, "displayOrder": order, "archived": False}
    return Reply(201, table.groups[name])


def update_group(call: Call) -> Reply:
    groups = _table(call).groups
    group = groups[get_group(call).payload["name"]]
    group.update({name: value for name, value in call.body().items() if name in ("label", "displayOrder")})
    return Reply(200, group)


def archive_group(call: Call) -> Reply:
    table = _table(call)
    name = get_group(call).payload["name"]
    if any(each["groupName"] == name for each in table.definitions.values()):
        raise invalid(f"Property group {name} still holds properties")
    del table.groups[name]
    return Reply(204)
