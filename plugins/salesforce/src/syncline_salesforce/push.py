"""Writes of one batch by sObject collections: Salesforce answers in order, each record by itself, and stops at none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.contract import Change, ObjectType, Op, PushResult, Status, UnsupportedFeature

from .client import Client
from .errors import LATER, Json, Refused, record_error
from .wire import to_wire, unclearable

PATH: Final = "/composite/sobjects"


def push(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
    op = _only_op(changes)
    try:
        answer = WRITES[op](client, object_type, changes)
    except Refused as refused:
        if len(changes) == 1 and refused.fault:
            return [PushResult(changes[0].local_key, Status.REJECTED, changes[0].remote_id, record_error(refused.fault))]
        raise  # the host splits the batch
    if not isinstance(answer, list) or len(answer) != len(changes):
        return [PushResult(change.local_key, Status.UNKNOWN, change.remote_id) for change in changes]
    return [_result(op, change, told) for change, told in zip(changes, answer, strict=True)]


def _only_op(changes: Sequence[Change]) -> Op:
    ops = {change.op for change in changes}
    if len(ops) != 1 or not ops <= set(WRITES):
        raise UnsupportedFeature(f"Salesforce takes one operation per batch out of {sorted(WRITES)}, not {sorted(ops)}.")
    if any(change.associations for change in changes):
        raise UnsupportedFeature("Salesforce's records refer to others by fields. Map the field instead of an association.")
    (op,) = ops
    return op


def _result(op: Op, change: Change, told: Any) -> PushResult:
    if not isinstance(told, dict) or not isinstance(told.get("success"), bool):
        return PushResult(change.local_key, Status.UNKNOWN, change.remote_id)
    if not told["success"]:
        return _refused(change, told)
    created = op is Op.CREATE or (op is Op.UPSERT and told.get("created") is True)
    remote_id = told.get("id") or change.remote_id
    if not remote_id:
        return PushResult(change.local_key, Status.UNKNOWN)
    return PushResult(change.local_key, Status.CREATED if created else Status.UPDATED, str(remote_id))


def _refused(change: Change, told: Json) -> PushResult:
    """Who could not lock a record was too early; nothing of it was written."""
    faults = [fault for fault in told.get("errors") or () if isinstance(fault, dict)]
    if any(fault.get("statusCode") in LATER for fault in faults):
        return PushResult(change.local_key, Status.NOT_SENT, change.remote_id)
    return PushResult(change.local_key, Status.REJECTED, change.remote_id, record_error(faults[0] if faults else {}))


def _records(object_type: ObjectType, changes: Sequence[Change]) -> list[Json]:
    return [_record(object_type, change) for change in changes]


def _record(object_type: ObjectType, change: Change) -> Json:
    record: Json = {"attributes": {"type": object_type.key}}
    record |= {name: to_wire(value) for name, value in unclearable(object_type, change.properties).items()}
    if object_type.unique_key and change.unique_key:
        record[object_type.unique_key] = change.unique_key
    return record | ({"id": change.remote_id} if change.op is Op.UPDATE else {})


def _create(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> Any:
    return client.write("POST", PATH, {"allOrNone": False, "records": _records(object_type, changes)})


def _update(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> Any:
    return client.write("PATCH", PATH, {"allOrNone": False, "records": _records(object_type, changes)})


def _upsert(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> Any:
    if not object_type.unique_key:
        raise UnsupportedFeature(f"{object_type.title} have no external id of ours. Make the field, then refresh the catalog.")
    path = f"{PATH}/{object_type.key}/{object_type.unique_key}"
    return client.write("PATCH", path, {"allOrNone": False, "records": _records(object_type, changes)})


def _archive(client: Client, _: ObjectType, changes: Sequence[Change]) -> Any:
    ids = ",".join(str(change.remote_id) for change in changes)
    return client.write("DELETE", PATH, ids=ids, allOrNone="false")


WRITES: Final[Mapping[Op, Callable[[Client, ObjectType, Sequence[Change]], Any]]] = {
    Op.CREATE: _create,
    Op.UPDATE: _update,
    Op.UPSERT: _upsert,
    Op.ARCHIVE: _archive,
}
