"""The imports API: a file is handed in, looked at, cancelled; its errors are listed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import orjson

from .clock import iso
from .importing import advance
from .imports import Column, Import
from .records import COMPANIES, Table
from .wire import ApiError, Call, Json, Reply, error, invalid, not_found_json


def create(call: Call) -> Reply:
    fields = dict(_multipart(call.raw))
    if "importRequest" not in fields or "files" not in fields:
        raise invalid("A request needs the fields importRequest and files.")
    try:
        request: Json = orjson.loads(fields["importRequest"])
        one = _understood(call, request, fields["files"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as bad:
        raise invalid(f"Invalid import request: {type(bad).__name__} {bad}") from bad
    _within_limits(call, one, len(fields["files"]))
    portal = call.portal
    portal.imports.add(one)
    advance(portal)
    return Reply(200, shown(one))


def _multipart(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Fields by name; a part starts with the boundary, which is the body's first line."""
    boundary = raw.partition(b"\r\n")[0]
    for part in raw.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        yield name, content.removesuffix(b"\r\n")


def _understood(call: Call, request: Json, content: bytes) -> Import:
    page = request["files"][0]["fileImportPage"]
    mapped = [(c["columnObjectTypeId"], c) for c in page["columnMappings"]]
    kinds = {kind for kind, _ in mapped}
    if len(kinds) != 1 or request["files"][0]["fileFormat"] != "CSV":
        raise invalid("The sandbox imports CSV files of one object only.")
    (kind,) = kinds
    table = call.portal.table(kind)
    columns = [Column(c["columnName"], c["propertyName"], c.get("columnType", "STANDARD")) for _, c in mapped]
    header, *rows = list(csv.reader(io.StringIO(content.decode())))
    if header != [column.name for column in columns]:
        raise invalid("The columns of the file are not those of columnMappings.")
    if unknown := [c.property for c in columns if c.property not in table.definitions]:
        raise invalid(f"Property definition not found: {', '.join(unknown)}")
    _identifiable(table, columns)
    operation = (request.get("importOperations") or {}).get(kind, "UPSERT")
    number = str(28_000_000 + len(call.portal.imports.known))
    now = call.portal.clock.now()
    return Import(number, request, table, operation, columns, rows, now, updated=now)


def _identifiable(table: Table, columns: list[Column]) -> None:
    """Alternate ids are properties with unique values, and companies' domain."""
    for column in columns:
        own = column.property in table.unique or (table.kind is COMPANIES and column.property == "domain")
        if column.kind == "HUBSPOT_ALTERNATE_ID" and not own:
            raise invalid(f"INVALID_COLUMN_CONFIGURATION: {column.property} does not identify a {table.kind.singular}")


def _within_limits(call: Call, one: Import, size: int) -> None:
    config, today = call.server.config, call.portal.imports.today(call.portal.clock.now())
    if len(one.rows) > config.import_rows:
        raise _too_much(f"The file has more than {config.import_rows} rows.")
    if size > config.import_bytes:
        raise _too_much(f"The file has more than {config.import_bytes} bytes.")
    if len(today) >= config.imports_daily:
        raise _too_much(f"{config.imports_daily} imports were started today.")


def _too_much(message: str) -> ApiError:
    return error(429, message, "RATE_LIMITS")


def shown(one: Import) -> Json:
    return {
        "id": one.id,
        "state": one.state,
        "createdAt": iso(one.created),
        "updatedAt": iso(one.updated),
        "optOutImport": False,
        "importName": one.request.get("name", ""),
        "importSource": "API",
        "importRequestJson": one.request,
        "mappedObjectTypeIds": [one.table.kind.type_id],
        "metadata": {"counters": dict(one.counts), "fileIds": [str(int(one.id) % 2**31)], "objectLists": []},
    }


def listing(call: Call) -> Reply:
    return _page(call, [shown(one) for one in reversed(call.portal.imports.known.values())])


def get(call: Call) -> Reply:
    return Reply(200, shown(_found(call)))


def errors(call: Call) -> Reply:
    found = [dict(each) for each in _found(call).errors]
    for each in found:
        if call.query.get("includeErrorMessage") != "true":
            del each["errorMessage"]
        if call.query.get("includeRowData") != "true":
            each["sourceData"] = {**each["sourceData"], "rowData": []}
    return _page(call, found)


def cancel(call: Call) -> Reply:
    """Rows written before stay."""
    one, stamp = _found(call), iso(call.portal.clock.now())
    if not one.ended:
        one.state, one.updated = "CANCELED", call.portal.clock.now()
    return Reply(200, {"status": "COMPLETE", "startedAt": stamp, "completedAt": stamp})


def _found(call: Call) -> Import:
    one = call.portal.imports.known.get(call.args["id"])
    if one is None:
        raise not_found_json()
    return one


def _page(call: Call, found: list[Json]) -> Reply:
    limit, start = call.limit(100, 100), int(call.query.get("after") or 0)
    body: Json = {"results": found[start : start + limit]}
    if len(found) > start + limit:
        after = str(start + limit)
        body["paging"] = {"next": {"after": after, "link": call.link(after=after)}}
    return Reply(200, body)
