"""Merging records and deleting them for good."""

from __future__ import annotations

from .clock import iso
from .objects import View, archive
from .portal import API, Portal
from .records import COMPANIES, CONTACTS, Record, Table, Values
from .wire import Call, Reply, invalid, not_found_json


def merge_records(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    body = call.body()
    primary, other = str(body.get("primaryObjectId")), str(body.get("objectIdToMerge"))
    first, second = table.resolve(primary), table.resolve(other)
    if first is None or second is None:
        raise not_found_json()
    if first is second:
        raise invalid("Cannot merge a record with itself")
    survivor = merge(call.portal, table, first, second)
    return Reply(200, View(call.portal, table, ())(survivor))


def merge(portal: Portal, table: Table, primary: Record, other: Record, source: str = API) -> Record:
    """A third record with a new id takes the place of both; the primary's values win where it has any."""
    now = portal.clock.now()
    stamp, lag = iso(now), portal.config.index_lag_s
    new_id = table.next_id()
    values = _merged(table, primary, other)
    values |= {"hs_object_id": new_id, table.kind.modified: stamp}
    for old in (primary, other):
        table.release(old)
        old.archived_at = stamp
        table.index(old, now, lag)
        table.merged_into[old.id] = new_id
        portal.links.move(table.kind.type_id, old.id, new_id)
    survivor = Record(new_id, values, primary.created, stamp)
    table.add(survivor)
    table.index(survivor, now, lag)
    told = {"primaryObjectId": int(primary.id), "mergedObjectIds": [int(other.id)], "newObjectId": int(new_id)}
    portal.tell(table, "merge", new_id, source, numberOfPropertiesMoved=len(values), **told)
    portal.tell(table, "deletion", other.id, source, changeFlag="DELETED")
    return survivor


def _merged(table: Table, primary: Record, other: Record) -> Values:
    values = {**other.values, **primary.values}
    gone = [record.values.get("hs_merged_object_ids", "") for record in (primary, other)]
    values["hs_merged_object_ids"] = ";".join(part for part in (*gone, primary.id, other.id) if part)
    if table.kind is CONTACTS:
        _gather(values, primary, other, "email", "hs_additional_emails")
    if table.kind is COMPANIES:
        _gather(values, primary, other, "domain", "hs_additional_domains")
    return values


def _gather(values: Values, primary: Record, other: Record, main: str, more: str) -> None:
    held = [record.values.get(more, "") for record in (primary, other)] + [other.values.get(main, "")]
    extra = dict.fromkeys(part for text in held for part in text.split(";") if part and part != values.get(main))
    if extra:
        values[more] = ";".join(extra)


def gdpr_delete(call: Call) -> Reply:
    """Leaves nothing behind, not even an archived record."""
    table = call.portal.table(call.args["type"])
    body = call.body()
    key, prop = str(body.get("objectId")), body.get("idProperty")
    record = table.by_unique(prop, key) if prop and table.upsertable(prop) else table.records.get(key)
    if record is not None:
        archive(call.portal, table, record, iso(call.portal.clock.now()), source="")
        call.portal.tell(table, "privacyDeletion", record.id, API)
        table.forget(record.id)
    return Reply(204)
