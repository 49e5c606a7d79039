"""Associations of HubSpot's default type, in batches; a labelled write would replace the labels people set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from syncline.contract import Association, Change, Code, ObjectType, PushResult, RecordError, Status

from .client import Client
from .errors import Json, context, record_error

MOST = 2000
Pair = tuple[str, str]
Told = dict[Pair, RecordError | None]


def push(client: Client, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
    told = {}
    for (to, remove), pairs in _grouped(changes).items():
        call = _remove if remove else _add
        for start in range(0, len(pairs), MOST):
            told.update({(to, *pair): e for pair, e in call(client, object_type.key, to, pairs[start : start + MOST]).items()})
    return [_result(change, told) for change in changes]


def _grouped(changes: Sequence[Change]) -> dict[tuple[str, bool], list[Pair]]:
    groups: dict[tuple[str, bool], dict[Pair, None]] = defaultdict(dict)
    for change in changes:
        for to in change.associations:
            groups[to.object_type, to.remove][change.remote_id or "", to.remote_id] = None
    return {key: list(pairs) for key, pairs in groups.items()}


def _add(client: Client, key: str, to: str, pairs: Sequence[Pair]) -> Told:
    inputs = [{"from": {"id": a}, "to": {"id": b}} for a, b in pairs]
    answer = client.associations.create_default(key, to, {"inputs": inputs})
    told: Told = {_pair(raw): None for raw in answer.get("results") or ()}
    for raw in answer.get("errors") or ():
        named = {name for values in (raw.get("context") or {}) for name in context(raw, values)}
        blamed = [pair for pair in pairs if pair not in told and (len(pairs) == 1 or named & set(pair))]
        told.update({pair: _error(raw, pair, named) for pair in blamed})
    return told


def _error(raw: Json, pair: Pair, named: set[str]) -> RecordError:
    """NOT_FOUND speaks of the change's own record only; the other end has changes of its own."""
    error = record_error(raw)
    return replace(error, code=Code.OTHER) if error.code is Code.NOT_FOUND and pair[0] not in named else error


def _remove(client: Client, key: str, to: str, pairs: Sequence[Pair]) -> Told:
    client.associations.archive(key, to, {"inputs": [{"from": {"id": a}, "to": [{"id": b}]} for a, b in pairs]})
    return dict.fromkeys(pairs)


def _pair(raw: Json) -> Pair:
    """HubSpot writes the two ends in two ways, and ids as text or as numbers."""
    if "fromObjectId" in raw:
        return str(raw["fromObjectId"]), str(raw["toObjectId"])
    return str(raw["from"]["id"]), str(raw["to"]["id"])


def _result(change: Change, told: dict[tuple[str, str, str], RecordError | None]) -> PushResult:
    """One refused association refuses the change; one that nothing was told about leaves it unknown."""
    ends = [_end(change, to) for to in change.associations]
    error = next((told[end] for end in ends if told.get(end)), None)
    if error:
        return PushResult(change.local_key, Status.REJECTED, change.remote_id, error)
    known = all(end in told for end in ends)
    return PushResult(change.local_key, Status.UPDATED if known else Status.UNKNOWN, change.remote_id)


def _end(change: Change, to: Association) -> tuple[str, str, str]:
    return to.object_type, change.remote_id or "", to.remote_id
