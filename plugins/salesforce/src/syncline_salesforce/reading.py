"""Reads: current values by id, and matches by values, which Salesforce's queries find at once and for certain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from syncline.contract import Kind, ObjectType, RemoteRecord, Retryable, UnsupportedFeature

from . import soql
from .client import Client
from .errors import Json
from .ids import full
from .merges import survivors
from .wire import STAMP, Reader

MOST = 2000


def fetch(client: Client, object_type: ObjectType, ids: Sequence[str], properties: Sequence[str]) -> dict[str, RemoteRecord]:
    """By the id asked for, which may be that of a record merged into another."""
    asked = {one: full(one) for one in dict.fromkeys(ids) if full(one)}
    there = _there(client, object_type, asked.values(), properties)
    missing = [one for one in asked.values() if one not in there]
    led = survivors(client, object_type, missing)
    there |= {old: there[new] for old, new in led.items() if new in there}
    other = {new for old, new in led.items() if old not in there}
    found = _there(client, object_type, other, properties)
    there |= {old: found[new] for old, new in led.items() if new in found}
    return {one: there[known] for one, known in asked.items() if known in there}


def _there(client: Client, object_type: ObjectType, ids: Iterable[str], properties: Sequence[str]) -> dict[str, RemoteRecord]:
    wanted, reader = list(dict.fromkeys(ids)), Reader(object_type, properties)
    fields = list(dict.fromkeys(("Id", *stamped(object_type), *properties)))
    found: dict[str, RemoteRecord] = {}
    for start in range(0, len(wanted), MOST):
        body = {"ids": wanted[start : start + MOST], "fields": fields}
        told = client.read(f"/composite/sobjects/{soql.name(object_type.key)}", body)
        if not isinstance(told, list):
            raise Retryable("Salesforce answered a read of records with something else. It is asked again.")
        found |= {one.id: one for one in (reader(raw) for raw in told if raw is not None)}
    return found


def stamped(object_type: ObjectType) -> tuple[str, ...]:
    return (STAMP,) if object_type.pull_since else ()


def match(client: Client, object_type: ObjectType, step: str, values: Sequence[str]) -> dict[str, list[str]]:
    _refuse_slow(object_type, step)
    found: dict[str, list[str]] = {value: [] for value in values}
    for raw in _holding(client, object_type.key, step, values):
        for value in {str(raw[step]), str(raw[step]).strip().lower()} & found.keys():
            found[value].append(raw["Id"])
    return found


def _refuse_slow(object_type: ObjectType, step: str) -> None:
    """Salesforce has an index of these; by other fields it would read whole tables, until it gives up."""
    held = object_type.property(step)
    if not (held and (held.unique or held.kind is Kind.EMAIL or held.name == "Name")):
        raise UnsupportedFeature(f"Salesforce has no index to look up {object_type.title} by {step}; list them instead.")


def _holding(client: Client, key: str, step: str, values: Sequence[str]) -> Iterator[Json]:
    for portion in soql.portions(values):
        last, more = "", True
        while more:
            after = f" AND Id > {soql.text(last)}" if last else ""
            where = f"{soql.name(step)} IN ({','.join(portion)}){after}"
            raws = client.query(soql.select(("Id", step), key, where, f"ORDER BY Id LIMIT {MOST}"))["records"]
            yield from raws
            last, more = raws[-1]["Id"] if raws else "", len(raws) == MOST
