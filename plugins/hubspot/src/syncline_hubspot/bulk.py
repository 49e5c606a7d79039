"""Bulk jobs: one CSV file through the imports API instead of a call for every hundred records.

An import tells nothing about rows that went well, so ids are read back with our own unique property: by search, which has an
allowance of its own, and for certain where that has nothing (yet). Existing records are found by that property, or by what
HubSpot's imports tell companies and contacts apart by.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Final

import orjson
from syncline.contract import (
    BulkJob,
    BulkResult,
    Change,
    Code,
    Collected,
    ObjectType,
    Permanent,
    RateLimited,
    RecordError,
    Status,
    UnsupportedFeature,
)

from .client import PAGE, Client
from .errors import NEXT, Json
from .wire import to_wire

PATH: Final = "/crm/v3/imports"
ROWS: Final = 20_000  # HubSpot takes 1,048,576, but three files at once; and the ids of so many are read back in a minute
HITS: Final = 200
BYTES: Final = 512 * 1024 * 1024
TYPE_IDS: Final = {"companies": "0-2", "contacts": "0-1", "deals": "0-3"}
MATCHES: Final = {"companies": ("domain",), "contacts": ("email",)}
GOING_ON: Final = {"STARTED": 5.0, "PROCESSING": 5.0, "DEFERRED": 30.0}
BOUNDARY: Final = b"syncline-4b1f0c6d2e"
CODES: Final = {
    "INVALID_ENUMERATION_OPTION": Code.INVALID_CHOICE,
    "AMBIGUOUS_ENUMERATION_OPTION": Code.INVALID_CHOICE,
    "PROPERTY_DEFINITION_NOT_FOUND": Code.UNKNOWN_PROPERTY,
    "MISSING_REQUIRED_PROPERTY": Code.REQUIRED,
    "INVALID_REQUIRED_PROPERTY": Code.REQUIRED,
    "COLUMN_TOO_LARGE": Code.TOO_LONG,
    "ROW_DATA_TOO_LARGE": Code.TOO_LONG,
    "DUPLICATE_UNIQUE_PROPERTY_VALUE": Code.CONFLICT,
    "DUPLICATE_ALTERNATE_ID": Code.CONFLICT,
    "MULTIPLE_COMPANIES_WITH_THIS_DOMAIN": Code.SEVERAL,
}


def submit(client: Client, object_type: ObjectType, job: BulkJob) -> str:
    key = object_type.unique_key
    if not key or object_type.key not in TYPE_IDS:
        raise UnsupportedFeature(f"{object_type.title} cannot be imported: that needs companies, contacts or deals, and our key.")
    if job.match_by and job.match_by not in object_type.bulk_match:
        raise UnsupportedFeature(f"HubSpot's imports cannot match {object_type.title} by {job.match_by}.")
    if job.perhaps_sent and (found := _named(client, job.name)):
        return found
    names = sorted({name for change in job.changes for name in change.properties} - {key})
    with tempfile.TemporaryFile() as file:
        _write(file, [key, *names], job.changes)
        body = _Body(_request(object_type, [key, *names], job), file)
        try:
            answer = client.upload(PATH, body, f"multipart/form-data; boundary={BOUNDARY.decode()}")
        except RateLimited as full:
            raise Permanent(f"HubSpot takes no further import now. {full}") from full
    return str(answer["id"])


def _named(client: Client, name: str) -> str | None:
    for raws in _pages(client, PATH):
        for raw in raws:
            if raw.get("importName") == name:
                return str(raw["id"])
    return None


def _pages(client: Client, path: str, **query: str) -> Iterator[list[Json]]:
    after: str | None = None
    while True:
        answer = client.call("GET", path, params={"limit": PAGE, **query, **({"after": after} if after else {})})
        yield answer.get("results") or []
        after = answer.get("paging", {}).get("next", {}).get("after")
        if after is None:
            return


def _write(file: IO[bytes], names: Sequence[str], changes: Iterable[Change]) -> None:
    """Our key stands in the first column: by it errors are attributed."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text)
    rows.writerow(names)
    for change in changes:
        rows.writerow([change.unique_key, *(to_wire(change.properties.get(name)) for name in names[1:])])
    text.flush()
    text.detach()
    if file.tell() > BYTES:
        raise Permanent(f"The file would have {file.tell()} bytes; HubSpot takes {BYTES}.")


def _request(object_type: ObjectType, names: Sequence[str], job: BulkJob) -> Json:
    kind, identifier = TYPE_IDS[object_type.key], job.match_by or names[0]
    columns = [
        {
            "columnObjectTypeId": kind,
            "columnName": name,
            "propertyName": name,
            **({"columnType": "HUBSPOT_ALTERNATE_ID"} if name == identifier else {}),
        }
        for name in names
    ]
    page = {"hasHeader": True, "columnMappings": columns}
    return {
        "name": job.name,
        "importOperations": {kind: "UPSERT"},
        "dateFormat": "YEAR_MONTH_DAY",
        "files": [{"fileName": "records.csv", "fileFormat": "CSV", "fileImportPage": page}],
    }


class _Body:
    """The form of an import, with the file streamed from disk."""

    def __init__(self, request: Json, file: IO[bytes]) -> None:
        field = b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
        named = b'; filename="records.csv"\r\nContent-Type: text/csv'
        self._head = field % (BOUNDARY, b"importRequest", b"") + orjson.dumps(request) + b"\r\n"
        self._head += field % (BOUNDARY, b"files", named)
        self._tail, self._file, self._size = b"\r\n--%b--\r\n" % BOUNDARY, file, file.tell()

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            yield piece
        yield self._tail


def collect(client: Client, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
    found = client.call("GET", f"{PATH}/{token}")
    if (wait := GOING_ON.get(found["state"])) is not None:
        yield Collected(after=wait)
        return
    back = _Back(client, object_type, found)
    if found["state"] != "DONE":
        yield Collected(note=f"HubSpot's import {token} ended as {found['state']}.")
    for errors in _pages(client, f"{PATH}/{token}/errors", includeErrorMessage="true", includeRowData="true"):
        yield Collected(back.rejected({_row_key(raw): raw for raw in reversed(errors)}))
    for found_new in back.new():
        yield Collected(found_new)
    rest = iter(keys)
    while some := list(islice(rest, PAGE)):
        yield Collected(back.told(some))


def _row_key(error: Json) -> str:
    cells = (error.get("sourceData") or {}).get("rowData") or [""]
    return str(cells[0])


class _Back:
    """What is there now, by our own key."""

    def __init__(self, client: Client, object_type: ObjectType, job: Json) -> None:
        self._client, self._type, self._columns = client, object_type, _columns(job)
        self._began = dt.datetime.fromisoformat(job["createdAt"])

    def _there(self, keys: Sequence[str]) -> Mapping[str, Json]:
        name = self._type.unique_key or ""
        inputs = [{"id": key} for key in keys]
        answer = self._client.batch.read(self._type.key, {"properties": [name], "idProperty": name, "inputs": inputs})
        return {raw["properties"].get(name): raw for raw in answer.get("results") or ()}

    def rejected(self, errors: Mapping[str, Json]) -> list[BulkResult]:
        """Most rows with an error were written all the same, without the value that is to blame."""
        named = {key: error for key, error in errors.items() if key}
        there = self._there(list(named)) if named else {}
        ids = {key: str(raw["id"]) for key, raw in there.items()}
        return [BulkResult(key, Status.REJECTED, ids.get(key), self._error(error)) for key, error in named.items()]

    def new(self) -> Iterator[list[BulkResult]]:
        """What was created since the job was handed in. Hits are current, only what is hit lags behind."""
        name, last = self._type.unique_key or "", "0"
        while True:
            answer = self._client.search.do_search(self._type.key, self._query(name, last))
            raws = answer.get("results") or []
            yield [self._result(key, raw) for raw in raws if (key := raw["properties"].get(name))]
            if not raws or "paging" not in answer:
                return
            last = str(raws[-1]["id"])

    def _query(self, name: str, last: str) -> Json:
        """Not by pages: beyond 10,000 hits there are none."""
        since = str(int(self._began.timestamp() * 1000))
        filters = [
            {"propertyName": name, "operator": "HAS_PROPERTY"},
            {"propertyName": "createdate", "operator": "GTE", "value": since},
            {"propertyName": "hs_object_id", "operator": "GT", "value": last},
        ]
        sorts = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        return {"filterGroups": [{"filters": filters}], "sorts": sorts, "properties": [name], "limit": HITS}

    def told(self, keys: Sequence[str]) -> list[BulkResult]:
        there = self._there(keys)
        return [self._result(key, there.get(key)) for key in keys]

    def _result(self, key: str, raw: Json | None) -> BulkResult:
        if raw is None:
            return BulkResult(key, Status.NOT_SENT)
        new = dt.datetime.fromisoformat(raw["createdAt"]) >= self._began
        return BulkResult(key, Status.CREATED if new else Status.UPDATED, str(raw["id"]))

    def _error(self, raw: Json) -> RecordError:
        kind, place = str(raw.get("errorType")), raw.get("knownColumnNumber")
        invalid = kind.startswith(("INVALID_", "COULD_NOT_", "FAILED_VALIDATION"))
        code = CODES.get(kind, Code.INVALID_VALUE if invalid else Code.OTHER)
        said = str(raw.get("errorMessage") or raw.get("extraContext") or kind.replace("_", " ").lower())[:300].rstrip(". ")
        name = self._columns[place] if place is not None and 0 <= place < len(self._columns) else None
        return RecordError(code, f"HubSpot's import refused {name or 'the record'}: {said}. {NEXT[code]}", name, kind)


def _columns(job: Json) -> list[str]:
    """Properties in the order of the file, as far as HubSpot says what was asked of it."""
    files = (job.get("importRequestJson") or {}).get("files") or [{}]
    return [str(column.get("propertyName")) for column in (files[0].get("fileImportPage") or {}).get("columnMappings") or ()]
