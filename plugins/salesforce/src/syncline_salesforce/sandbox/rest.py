"""REST: describe, queries, collections. A handler gets the server, the parts of its path, and the request."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ..objects import change_event
from . import soql
from .refusals import ApiError, RecordRefused, not_found

if TYPE_CHECKING:
    from .server import Call

MOST = 200
MOST_READ = 2000
BATCH = 25
ADDRESS = 16_000


def sobjects(call: Call) -> Any:
    listed = [one.listed() for one in call.org.objects.values()]
    return {"encoding": "UTF-8", "maxBatchSize": MOST, "sobjects": listed + [_event(kind) for kind in call.server.bus.schemas]}


def _event(kind: str) -> dict[str, Any]:
    """Of each object that can be followed there is one more, which nobody can query."""
    able = dict.fromkeys(("custom", "queryable", "retrieveable", "layoutable", "customSetting", "deprecatedAndHidden"), False)
    return {"name": change_event(kind), "label": change_event(kind), "labelPlural": change_event(kind), **able}


def describe(call: Call) -> Any:
    return call.org.definition(call.parts["kind"]).describe()


def batch(call: Call) -> Any:
    asked = call.json().get("batchRequests") or []
    if len(asked) > BATCH:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A batch holds {BATCH} requests at most")
    results = [_one(call, str(one.get("url", ""))) for one in asked]
    return {"hasErrors": any(one["statusCode"] >= 400 for one in results), "results": results}


def _one(call: Call, url: str) -> dict[str, Any]:
    parts = url.strip("/").split("/")
    try:
        if len(parts) != 4 or parts[1] != "sobjects" or parts[3] != "describe":
            raise not_found()
        return {"statusCode": 200, "result": call.org.definition(parts[2]).describe()}
    except ApiError as refused:
        return {"statusCode": refused.status, "result": refused.body}


def record_count(call: Call) -> Any:
    names = call.query.get("sObjects", "").split(",")
    counted = [name for name in names if name in call.org.records]
    living = {name: sum(not record["IsDeleted"] for record in call.org.records[name].values()) for name in counted}
    return {"sObjects": [{"name": name, "count": count} for name, count in living.items()]}


def query(call: Call) -> Any:
    if len(call.address) > ADDRESS:
        raise ApiError(414, "URI_TOO_LONG", "The length of the URI exceeds the 16,088 byte limit.")
    deleted = call.parts["verb"] == "queryAll"
    found = soql.run(call.org, call.query.get("q", ""), deleted=deleted)
    return _page(call, [found.shown(record) for record in found.records], 0)


def query_more(call: Call) -> Any:
    key, _, start = call.parts["locator"].rpartition("-")
    if key not in call.server.cursors:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(call, call.server.cursors[key], int(start), key)


def _page(call: Call, records: list[Any], start: int, key: str = "") -> Any:
    """An address to go on at says `query`, whichever verb it was."""
    size = call.server.page
    shown = records[start : start + size]
    told: dict[str, Any] = {"totalSize": len(records), "done": start + size >= len(records), "records": shown}
    if not told["done"]:
        key = key or f"01g{next(call.server.numbers):012d}"
        call.server.cursors[key] = records
        told["nextRecordsUrl"] = f"{call.prefix}/query/{key}-{start + size}"
    return told


def retrieve(call: Call) -> Any:
    """Records by id, in order; null where there is none."""
    kind, body = call.parts["kind"], call.json()
    definition, ids, fields = call.org.definition(kind), body.get("ids") or [], body.get("fields") or []
    if len(ids) > MOST_READ:
        raise ApiError(
            400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MOST_READ} records into this call"
        )
    if unknown := [name for name in fields if name not in definition.fields]:
        raise ApiError(400, "INVALID_FIELD", f"No such column '{unknown[0]}' on entity '{kind}'.")
    found = soql.Query(list(dict.fromkeys(("Id", *fields))), kind, [])
    return [found.shown(record) if (record := call.org.find(kind, str(one))) else None for one in ids]


def create(call: Call) -> Any:
    return _each(call, lambda values: (call.org.create(_kind(values), _plain(values)), None))


def update(call: Call) -> Any:
    def write(values: dict[str, Any]) -> tuple[str, bool | None]:
        record_id = str(values.get("id") or values.get("Id") or "")
        call.org.update(_kind(values), record_id, _plain(values))
        return record_id, None

    return _each(call, write)


def upsert(call: Call) -> Any:
    kind, name = call.parts["kind"], call.parts["field"]
    return _each(call, lambda values: call.org.upsert(kind, name, _plain(values)))


def delete(call: Call) -> Any:
    ids = call.query.get("ids", "").split(",")
    _refuse_many(len(ids))

    def gone(record_id: str) -> tuple[str, bool | None]:
        call.org.delete(record_id)
        return record_id, None

    return [_result(gone, one, {"id": one}) for one in ids]


def _each(call: Call, write: Callable[[dict[str, Any]], tuple[str, bool | None]]) -> list[Any]:
    records = call.json().get("records") or []
    _refuse_many(len(records))
    return [_result(write, one, {}) for one in records]


def _refuse_many(count: int) -> None:
    if count > MOST:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MOST} records into this call")


def _result(write: Callable[[Any], tuple[str, bool | None]], given: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    try:
        record_id, created = write(given)
    except RecordRefused as refused:
        return {**named, "success": False, "errors": [refused.error]}
    return {"id": record_id, "success": True, "errors": [], **({"created": created} if created is not None else {})}


def _kind(values: dict[str, Any]) -> str:
    kind = (values.get("attributes") or {}).get("type")
    if not kind:
        raise ApiError(400, "INVALID_INPUT", "Include a valid attributes.type in each record.")
    return str(kind)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("attributes", "id", "Id")}


def limits(call: Call) -> Any:
    return {"DailyApiRequests": {"Max": call.server.daily, "Remaining": call.server.daily - call.server.used}}


def numbers() -> itertools.count[int]:
    return itertools.count(1)


def parsed(raw: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, "JSON_PARSER_ERROR", f"Unexpected character: {error}") from None
    if not isinstance(told, dict):
        raise ApiError(400, "JSON_PARSER_ERROR", "Can not deserialize the body out of this.")
    return told
