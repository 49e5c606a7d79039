"""Single records and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .portal import API, Portal
from .records import Record, Table, Values
from .refusals import Refusal, refused
from .wire import Call, Json, Reply, invalid, invalid_json, not_found_html, not_found_json
from .writes import Writer

PAGE = 100
PAGE_WITH_HISTORY = 50


def shape(portal: Portal, table: Table, record: Record, values: Values | dict[str, str | None]) -> Json:
    """A record as every answer shows it."""
    shown: Json = {
        "id": record.id,
        "properties": values,
        "createdAt": record.created,
        "updatedAt": record.updated,
        "archived": record.archived_at is not None,
        "url": f"https://app.hubspot.com/contacts/{portal.id}/record/{table.kind.type_id}/{record.id}",
    }
    if record.archived_at:
        shown["archivedAt"] = record.archived_at
    return shown


class View:
    """Which properties a reading call wants; asked but undefined ones are left out, empty ones are null."""

    def __init__(self, portal: Portal, table: Table, asked: Iterable[str], history: Iterable[str] = ()) -> None:
        self.portal = portal
        self.table = table
        self.now = portal.clock.now()
        always = ("createdate", "hs_createdate") if "createdate" not in table.definitions else ("createdate",)
        names = dict.fromkeys((*(tuple(asked) or table.kind.shown), *always, table.kind.modified, "hs_object_id"))
        self.names = [name for name in names if name in table.definitions]
        self.history = [name for name in history if name in table.definitions]

    def __call__(self, record: Record) -> Json:
        if record.touch_at or record.pending:
            self.table.settle(record, self.now, self.portal.config.index_lag_s)
        get = record.values.get
        shown = shape(self.portal, self.table, record, {name: get(name) for name in self.names})
        if self.history:
            shown["propertiesWithHistory"] = {name: _versions(record, name) for name in self.history}
        return shown


def _versions(record: Record, name: str) -> list[Json]:
    """Newest first; the oldest is what the record was created with, as far as its edits reach back."""
    edits = [edit for edit in record.past if name in edit.values]
    versions = [_version(edit.values[name][1], edit.at, edit.source) for edit in reversed(edits)]
    first = edits[0].values[name][0] if edits else record.values.get(name)
    return versions if first is None else [*versions, _version(first, record.created, API)]


def _version(value: str | None, at: str, source: str) -> Json:
    return {"value": value or "", "timestamp": at, "sourceType": source, "sourceId": "sandbox"}


def associated(portal: Portal, table: Table, record: Record, wanted: list[str]) -> Json:
    """`associations` as lists and single reads show them: ids and the names of the types."""
    shown: Json = {}
    for name in wanted:
        other = portal.table(name)
        pair = (table.kind.type_id, other.kind.type_id)
        base = f"{table.kind.singular}_to_{other.kind.singular}"
        results = [
            {"id": to_id, "type": base if portal.links.types_of(pair)[spec].label is None else f"{base}_{spec[1]}"}
            for to_id, specs in portal.links.of(pair, record.id).items()
            for spec in sorted(specs)
        ]
        most = portal.config.associations_page
        if results:
            more = {"paging": {"next": {"after": results[most]["id"]}}} if len(results) > most else {}
            shown[other.kind.name if other in portal.built_in else other.kind.singular] = {"results": results[:most], **more}
    return shown


def list_records(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    archived = call.query.get("archived") == "true"
    history = call.listed("propertiesWithHistory")
    limit = call.limit(10, PAGE_WITH_HISTORY if history else PAGE)
    after = call.query.get("after")
    if after and not re.fullmatch(r"[0-9]+", after):
        raise invalid(f"Invalid paging token: {after}")
    page, following = _page(table, after, limit, archived)
    view = View(call.portal, table, call.listed("properties"), history)
    wanted = call.listed("associations")
    results = [view(record) for record in page]
    if wanted:
        for shown, record in zip(results, page, strict=True):
            shown["associations"] = associated(call.portal, table, record, wanted)
    body: Json = {"results": results}
    if following:
        body["paging"] = {"next": {"after": following, "link": call.link(after=following)}}
    return Reply(200, body)


def _page(table: Table, after: str | None, limit: int, archived: bool) -> tuple[list[Record], str | None]:
    """`after` names the first record of the page, so the next page's is the record that no longer fits."""
    page: list[Record] = []
    for record in table.starting_at(after):
        if (record.archived_at is not None) == archived and record.id not in table.merged_into:
            if len(page) == limit:
                return page, record.id
            page.append(record)
    return page, None


def one(call: Call, table: Table) -> Record | None:
    """The record of a single call: by id, by an id merged into it, or by a unique property."""
    key = call.args["id"]
    prop = call.query.get("idProperty")
    if prop and prop != "hs_object_id":
        return table.by_unique(prop, key) if _unique_or_400(call, table, prop) else None
    if call.method == "GET" and call.query.get("archived") == "true":
        return table.records.get(key)
    return table.resolve(key)


def _unique_or_400(call: Call, table: Table, prop: str) -> bool:
    if not table.upsertable(prop):
        raise not_unique(call.portal, table, prop)
    return True


def not_unique(portal: Portal, table: Table, prop: str) -> Exception:
    """HubSpot's wording; for the record id it adds the account."""
    message = f"Unable to perform update/upsert by non-unique {table.kind.type_id} property {prop}"
    return invalid(f"{message} in portal ID {portal.id}" if prop == "hs_object_id" else message)


def get_record(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    record = one(call, table)
    if record is None:
        raise not_found_html()
    shown = View(call.portal, table, call.listed("properties"), call.listed("propertiesWithHistory"))(record)
    wanted = call.listed("associations")
    if wanted:
        shown["associations"] = associated(call.portal, table, record, wanted)
    return Reply(200, shown)


def properties_of(given: Json) -> Json:
    properties = given.get("properties")
    if not isinstance(properties, dict):
        raise invalid_json("`properties` must be an object")
    return properties


def create_record(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    body = call.body()
    writer = Writer(call.portal, table)
    try:
        record, values = writer.commit(writer.plan_create(properties_of(body)))
    except Refusal as refusal:
        raise refused(call.portal, [refusal]) from refusal
    associate_new(call.portal, table, record, body)
    location = f"{call.base_url}{call.path.rstrip('/')}/{record.id}"
    return Reply(201, shape(call.portal, table, record, values), {"Location": location})


def associate_new(portal: Portal, table: Table, record: Record, given: Json) -> None:
    """The `associations` a create call may carry; targets are found by the type of the association."""
    for item in given.get("associations") or ():
        for kind in item["types"]:
            spec = (str(kind["associationCategory"]), int(kind["associationTypeId"]))
            for other in portal.every_table():
                pair = (table.kind.type_id, other.kind.type_id)
                if spec in portal.links.types_of(pair) and other.live(str(item["to"]["id"])):
                    portal.links.connect(pair, record.id, str(item["to"]["id"]), {spec})
                    portal.tell_link((table, record.id), (other, str(item["to"]["id"])), API)


def update_record(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    record = one(call, table)
    if record is None:
        raise not_found_json()
    writer = Writer(call.portal, table)
    try:
        record, values = writer.commit(writer.plan_update(record, properties_of(call.body())))
    except Refusal as refusal:
        raise refused(call.portal, [refusal]) from refusal
    return Reply(200, shape(call.portal, table, record, values))


def archive(portal: Portal, table: Table, record: Record, stamp: str, source: str = API) -> None:
    portal.tell(table, "deletion", record.id, source, changeFlag="DELETED")
    record.archived_at = record.updated = stamp
    table.release(record)
    table.index(record, portal.clock.now(), portal.config.index_lag_s)
    portal.links.forget(table.kind.type_id, record.id)


def archive_record(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    record = table.resolve(call.args["id"])
    if record is not None:
        archive(call.portal, table, record, Writer(call.portal, table).stamp)
    elif call.args["id"] not in table.records:
        raise not_found_html()
    return Reply(204)
