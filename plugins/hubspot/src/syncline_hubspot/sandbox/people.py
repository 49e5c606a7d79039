"""The admin API for what people do in HubSpot: they edit, merge, bin and restore records, and are owners of them."""

from __future__ import annotations

from .admin import dumped, list_or_object, portal_of, record_of, refused, table_of
from .clock import iso
from .links import Pair
from .merges import merge
from .objects import archive
from .portal import PERSON, owner
from .records import Record
from .refusals import Refusal
from .wire import Call, Json, Reply
from .writes import Writer


def patch_object(call: Call) -> Reply:
    """As a user of HubSpot would edit the record, read-only properties included."""
    portal, table = table_of(call)
    record = record_of(table, call.args["id"])
    _edit(Writer(portal, table, PERSON), record, call.body())
    return Reply(200, dumped(portal, table, record))


def _edit(writer: Writer, record: Record, wanted: Json) -> None:
    table = writer.table
    given = {name: value for name, value in wanted.items() if table.checks.get(name, True) is not None}
    try:
        writer.commit(writer.plan_update(record, given))
    except Refusal as refusal:
        raise refused(refusal.text(writer.portal.id)) from refusal
    if len(given) < len(wanted):
        record.values = record.values | {name: str(value) for name, value in wanted.items() if name not in given}
        table.claim(record.id, record.values)


def edit_objects(call: Call) -> Reply:
    """`{"properties": {…}, "ids"?: […]}`: a person edits many records, or all, at one instant; `{n}` in a value counts them."""
    portal, table = table_of(call)
    body = call.body()
    ids = body.get("ids") or [record.id for record in table.records.values() if record.archived_at is None]
    writer = Writer(portal, table, PERSON)
    for number, one in enumerate(ids):
        wanted = {name: str(value).replace("{n}", str(number)) for name, value in body["properties"].items()}
        _edit(writer, record_of(table, str(one)), wanted)
    return Reply(200, {"ids": ids, "at": writer.stamp})


def restore_object(call: Call) -> Reply:
    """As a user of HubSpot takes a record out of the bin."""
    portal, table = table_of(call)
    record = table.records.get(call.args["id"])
    if record is None or record.archived_at is None or record.id in table.merged_into:
        raise refused(f"No {table.kind.singular} {call.args['id']} in the sandbox's bin.", 404)
    now = portal.clock.now()
    record.archived_at, record.updated = None, iso(now)
    record.values = {**record.values, table.kind.modified: record.updated}
    table.claim(record.id, record.values)
    table.index(record, now, portal.config.index_lag_s)
    portal.tell(table, "restore", record.id, PERSON)
    return Reply(200, dumped(portal, table, record))


def change_owners(call: Call) -> Reply:
    """Adds owners, or changes those whose `id` is known."""
    portal = portal_of(call)
    for given in list_or_object(call):
        known = next((one for one in portal.owners if one["id"] == given.get("id")), None)
        if known is None:
            known = owner(
                len(portal.owners), given.get("firstName", "New"), given.get("lastName", "Owner"), iso(portal.clock.now())
            )
            portal.owners.append(known)
        known.update(given)
    return Reply(200, {"results": portal.owners})


def delete_object(call: Call) -> Reply:
    portal, table = table_of(call)
    archive(portal, table, record_of(table, call.args["id"]), iso(portal.clock.now()), PERSON)
    return Reply(204)


def merge_object(call: Call) -> Reply:
    """`{"into": id}`: that record is the primary one; the answer names the id of the record that survives."""
    portal, table = table_of(call)
    primary = record_of(table, str(call.body().get("into")))
    survivor = merge(portal, table, primary, record_of(table, call.args["id"]), PERSON)
    return Reply(200, dumped(portal, table, survivor))


def link_objects(call: Call) -> Reply:
    """`{"from": id, "to": id}` of `/associations/{type}/{to}`, unlabelled."""
    portal, table = table_of(call)
    pair: Pair = (table.kind.type_id, portal.table(call.args["to"]).kind.type_id)
    for given in list_or_object(call):
        portal.links.connect(pair, str(given["from"]), str(given["to"]), {portal.links.default(pair).spec})
        portal.tell_link((table, str(given["from"])), (portal.table(call.args["to"]), str(given["to"])), PERSON)
    return Reply(204)
