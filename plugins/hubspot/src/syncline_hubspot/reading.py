"""Reads: current values by id, and certain matches by unique values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from syncline.contract import ObjectType, RemoteRecord, UnsupportedFeature

from .client import HISTORY_PAGE, PAGE, Client
from .errors import Json, Refused
from .linking import linked
from .wire import Reader, record, with_merged


def fetch(
    client: Client,
    object_type: ObjectType,
    ids: Sequence[str],
    properties: Sequence[str],
    associations: Sequence[str],
    history: Sequence[str] = (),
) -> dict[str, RemoteRecord]:
    names, reader = with_merged(properties), Reader(object_type)
    found = {str(raw["id"]): reader(raw) for raw in batch_read(client, object_type.key, ids, {"properties": names}, past=history)}
    for missing in [asked for asked in dict.fromkeys(ids) if asked not in found]:
        single = _single(client, object_type, missing, names, history)
        if single:
            found[missing] = single
    living = {asked: found[asked] for asked in dict.fromkeys(ids) if asked in found and not found[asked].archived}
    whole = {one.id: one for one in linked(client, object_type, list(living.values()), associations)}
    return {asked: whole[one.id] for asked, one in living.items()}


def _single(
    client: Client, object_type: ObjectType, asked: str, properties: Sequence[str], history: Sequence[str]
) -> RemoteRecord | None:
    """Only this call knows the ids of records that were merged into another."""
    query: Json = {"properties": list(properties)}
    query |= {"properties_with_history": list(history)} if history else {}
    try:
        return record(object_type, client.objects.get_by_id(object_type.key, asked, **query))
    except Refused as error:
        if error.status == 404:
            return None
        raise


def match(client: Client, object_type: ObjectType, step: str, values: Sequence[str]) -> dict[str, list[str]]:
    also = _identifying(object_type, step)
    found: dict[str, list[str]] = {value: [] for value in values}
    for raw in batch_read(client, object_type.key, values, {"properties": [step, *also], "idProperty": step}):
        for value in _held(raw, [step, *also]):
            if value in found and str(raw["id"]) not in found[value]:
                found[value].append(str(raw["id"]))
    return found


def _identifying(object_type: ObjectType, step: str) -> tuple[str, ...]:
    """Further properties whose values HubSpot takes for the step's. Only unique values can be asked for with certainty:
    search lags behind and does not know additional domains."""
    if object_type.key == "contacts" and step == "email":
        return ("hs_additional_emails",)
    if step == object_type.unique_key:
        return ()
    raise UnsupportedFeature(f"HubSpot cannot look up {object_type.title} by {step} with certainty; list them instead.")


def _held(raw: Json, names: Iterable[str]) -> set[str]:
    values = [raw["properties"].get(name) or "" for name in names]
    texts = {part.strip() for value in values for part in value.split(";") if part.strip()}
    return texts | {text.lower() for text in texts}


def batch_read(
    client: Client, key: str, ids: Iterable[str], query: Json, *, archived: bool = False, past: Sequence[str] = ()
) -> Iterator[Json]:
    """`past`: properties whose earlier values are wanted."""
    wanted, most = list(dict.fromkeys(ids)), HISTORY_PAGE if past else PAGE
    query = {**query, "propertiesWithHistory": list(past)} if past else query
    for start in range(0, len(wanted), most):
        inputs = [{"id": one} for one in wanted[start : start + most]]
        answer = client.batch.read(key, {**query, "inputs": inputs}, **({"archived": True} if archived else {}))
        yield from answer.get("results") or ()
