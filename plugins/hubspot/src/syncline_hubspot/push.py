"""Writes of one batch. Results are found by trace id, own key, e-mail or id; HubSpot answers in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from syncline.contract import Change, ObjectType, Op, OutcomeUnknown, Permanent, PushResult, Status, UnsupportedFeature

from . import associations
from .client import Client
from .errors import Json, Refused, context, record_error
from .wire import to_wire


def push(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
    op = _only_op(changes)
    try:
        if op is Op.ASSOCIATE:
            return associations.push(client, object_type, changes)
        _refuse_twins(changes)
        return _write(client, object_type, op, changes)
    except Refused as refused:
        return [_verdict(refused, changes)]


def _only_op(changes: Sequence[Change]) -> Op:
    ops = {change.op for change in changes}
    if len(ops) != 1 or not ops <= {Op.ASSOCIATE, Op.DELETE, *WRITES}:
        raise UnsupportedFeature(
            f"HubSpot takes one operation per batch out of {sorted(WRITES)}, associate and delete, not {sorted(ops)}."
        )
    (op,) = ops
    if op is not Op.ASSOCIATE and any(change.associations for change in changes):
        raise UnsupportedFeature("HubSpot takes associations in a batch of their own (Op.ASSOCIATE), after the records.")
    return op


def _refuse_twins(changes: Sequence[Change]) -> None:
    """HubSpot refuses a batch that names a record twice, whatever else is in it."""
    for field in ("remote_id", "unique_key"):
        named = Counter(value for change in changes if (value := getattr(change, field)))
        twins = [value for value, times in named.items() if times > 1]
        if twins:
            raise Permanent(f"The batch writes to the same record twice ({field} {', '.join(twins[:5])}). Nothing was sent.")


def _verdict(refused: Refused, changes: Sequence[Change]) -> PushResult:
    """For a request refused as a whole: certain for a single record, else the host splits the batch."""
    if len(changes) == 1 and refused.details:
        return _rejected(changes[0], refused.details)
    if refused.status == 409:
        raise OutcomeUnknown(f"{refused} Some of the batch may have been written.") from refused
    raise refused


def _rejected(change: Change, details: Json) -> PushResult:
    return PushResult(change.local_key, Status.REJECTED, change.remote_id, record_error(details))


def _write(client: Client, object_type: ObjectType, op: Op, changes: Sequence[Change]) -> list[PushResult]:
    if op is Op.DELETE:
        return _purge(client, object_type, changes)
    inputs = [_input(object_type, op, trace, change) for trace, change in enumerate(changes)]
    answer = WRITES[op](client)(object_type.key, {"inputs": inputs})
    if op is Op.ARCHIVE:  # 204: nothing is told about single records
        return [PushResult(change.local_key, Status.UPDATED, change.remote_id) for change in changes]
    return Answer(object_type, op, changes, answer).results()


def _purge(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
    """One record a call, as the object type says; HubSpot has no batch for it.

    https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/basic/post-crm-v3-objects-contacts-gdpr-delete
    """
    if object_type.key != "contacts" or len(changes) != 1:
        raise UnsupportedFeature("HubSpot deletes for good contacts only, one at a time. Archive other records.")
    (change,) = changes
    client.call("POST", f"/crm/v3/objects/{object_type.key}/gdpr-delete", {"objectId": change.remote_id})
    return [PushResult(change.local_key, Status.UPDATED, change.remote_id)]


WRITES: Final[Mapping[Op, Callable[[Client], Callable[[str, Json], Json]]]] = {
    Op.CREATE: lambda client: client.batch.create,
    Op.UPDATE: lambda client: client.batch.update,
    Op.UPSERT: lambda client: client.batch.upsert,
    Op.ARCHIVE: lambda client: client.batch.archive,
}


def _input(object_type: ObjectType, op: Op, trace: int, change: Change) -> Json:
    if op is Op.ARCHIVE:
        return {"id": change.remote_id}
    values = {name: to_wire(value) for name, value in change.properties.items()}
    if object_type.unique_key and change.unique_key:
        values[object_type.unique_key] = change.unique_key
    given = {"properties": values, "objectWriteTraceId": str(trace)}
    if op is Op.CREATE:
        return given
    if op is Op.UPDATE:
        return {"id": change.remote_id, **given}
    if not object_type.unique_key:
        raise UnsupportedFeature(f"{object_type.title} have no unique property of ours yet; create the missing properties first.")
    return {"id": change.unique_key, "idProperty": object_type.unique_key, **given}


class Answer:
    """Attributes what a batch's answer tells to its changes; what is not told is unknown."""

    def __init__(self, object_type: ObjectType, op: Op, changes: Sequence[Change], answer: Json) -> None:
        self._op, self._changes = op, changes
        self._key = object_type.unique_key
        self._told: dict[int, PushResult] = {}
        self._by_name = {name.lower(): index for index, change in enumerate(changes) for name in self._names(change)}
        rest = [raw for raw in answer.get("results") or () if not self._take(raw)]
        unclear = [raw for raw in answer.get("errors") or () if not self._blame(raw)]
        self._by_elimination(rest, unclear)

    def results(self) -> list[PushResult]:
        unknown = [PushResult(change.local_key, Status.UNKNOWN, change.remote_id) for change in self._changes]
        return [self._told.get(index, silent) for index, silent in enumerate(unknown)]

    def _names(self, change: Change) -> Iterable[str]:
        """What tells this change's record from the others in the answer, apart from the trace id."""
        if change.remote_id:
            yield f"id:{change.remote_id}"
        if self._key and change.unique_key:
            yield f"key:{change.unique_key}"
        email = change.properties.get("email")
        if self._op is Op.CREATE and email:
            yield f"email:{email}"

    def _index(self, traces: Iterable[str], names: Iterable[str]) -> list[int]:
        traced = [int(t) for t in traces if t.isdigit() and int(t) < len(self._changes)]
        return traced or [self._by_name[n.lower()] for n in names if n.lower() in self._by_name]

    def _take(self, raw: Json) -> bool:
        values = raw.get("properties") or {}
        names = [f"id:{raw.get('id')}", f"key:{values.get(self._key or '')}", f"email:{values.get('email')}"]
        found = self._index([str(raw.get("objectWriteTraceId", ""))], names)[:1]
        for index in found:
            self._written(index, raw)
        return bool(found)

    def _written(self, index: int, raw: Json) -> None:
        created = self._op is Op.CREATE or raw.get("new") is True
        status = Status.CREATED if created else Status.UPDATED
        self._told[index] = PushResult(self._changes[index].local_key, status, str(raw["id"]))

    def _blame(self, raw: Json) -> bool:
        ids = context(raw, "ids")
        found = self._index(context(raw, "objectWriteTraceId"), [f"{kind}:{name}" for name in ids for kind in ("id", "key")])
        for index in found:
            self._told[index] = _rejected(self._changes[index], raw)
        return bool(found)

    def _by_elimination(self, rest: list[Json], unclear: list[Json]) -> None:
        """One answer without a name and one change without an answer belong together."""
        open_ = [index for index in range(len(self._changes)) if index not in self._told]
        if len(open_) != 1 or len(rest) + len(unclear) != 1:
            return
        if rest:
            self._written(open_[0], rest[0])
        else:
            self._told[open_[0]] = _rejected(self._changes[open_[0]], unclear[0])
