"""Reads: current values by id, certain matches by unique values, and full listings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from syncline.contract import ObjectType, Page, RemoteRecord, Retryable, UnsupportedFeature

from .client import PAGE, Client
from .errors import Json, Refused
from .wire import record

LONGEST_QUERY = 14_000  # characters; the address of a call has to stay below 15,000


def fetch(client: Client, object_type: ObjectType, ids: Sequence[str], properties: Sequence[str]) -> dict[str, RemoteRecord]:
    found: dict[str, RemoteRecord] = {}
    for raw in _batch_read(client, object_type.key, ids, properties):
        found[str(raw["id"])] = record(object_type, raw)
    for missing in [asked for asked in dict.fromkeys(ids) if asked not in found]:
        single = _single(client, object_type, missing, properties)
        if single:
            found[missing] = single
    return {asked: found[asked] for asked in dict.fromkeys(ids) if asked in found and not found[asked].archived}


def _single(client: Client, object_type: ObjectType, asked: str, properties: Sequence[str]) -> RemoteRecord | None:
    """Only this call knows the ids of records that were merged into another."""
    try:
        return record(object_type, client.objects.get_by_id(object_type.key, asked, properties=list(properties)))
    except Refused as error:
        if error.status == 404:
            return None
        raise


def match(client: Client, object_type: ObjectType, step: str, values: Sequence[str]) -> dict[str, list[str]]:
    also = _identifying(object_type, step)
    found: dict[str, list[str]] = {value: [] for value in values}
    for raw in _batch_read(client, object_type.key, values, [step, *also], id_property=step):
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


def _batch_read(
    client: Client, key: str, ids: Sequence[str], properties: Sequence[str], id_property: str | None = None
) -> Iterator[Json]:
    wanted = list(dict.fromkeys(ids))
    extra = {"idProperty": id_property} if id_property else {}
    for start in range(0, len(wanted), PAGE):
        inputs = [{"id": one} for one in wanted[start : start + PAGE]]
        answer = client.batch.read(key, {"properties": list(properties), "inputs": inputs, **extra})
        yield from answer.get("results") or ()


def _surely(get_page: Any, *args: Any, **query: Any) -> Json:
    """HubSpot has been seen to answer with success and nothing in it: an empty page is asked for again before it is believed."""
    for _ in range(2):
        answer: Json = get_page(*args, **query)
        if answer.get("results"):
            return answer
    if answer.get("paging", {}).get("next"):
        raise Retryable("HubSpot answered with an empty page in the middle of a listing. It is listed again.")
    return answer


def listed(client: Client, object_type: ObjectType, properties: Sequence[str], after: str | None) -> Iterator[Page]:
    query: dict[str, object] = {"properties": list(properties), "after": after}
    long = sum(len(name) + 3 for name in properties) > LONGEST_QUERY
    if long:
        query["properties"] = ["hs_object_id"]
    for raws, position in client.pages(partial(_surely, client.objects.get_page), object_type.key, **query):
        full = _batch_read(client, object_type.key, [raw["id"] for raw in raws], properties) if long else raws
        yield Page([record(object_type, raw) for raw in full], position)
