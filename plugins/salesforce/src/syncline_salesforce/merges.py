"""Records that were merged into others: they lie in the recycle bin and name the record that took their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from syncline.contract import ObjectType

from . import soql
from .client import Client

MASTER: Final = "MasterRecordId"
PAGE: Final = 2000
CHAIN: Final = 5


def survivors(client: Client, object_type: ObjectType, gone: Sequence[str]) -> dict[str, str]:
    """Of those gone the ones that were merged: the id of the record that is left, however often that was merged in turn."""
    led: dict[str, str] = {}
    if object_type.property(MASTER) is None:
        return led
    wanted = list(gone)
    for _ in range(CHAIN):
        into = dict(_masters(client, object_type.key, wanted))
        led = {old: into.get(new, new) for old, new in led.items()} | {old: into[old] for old in gone if old in into}
        wanted = list(into.values())
        if not wanted:
            break
    return led


def merged_into(client: Client, object_type: ObjectType) -> dict[str, tuple[str, ...]]:
    """By the record that is left, which ones went into it, as long as Salesforce remembers them."""
    found: dict[str, tuple[str, ...]] = {}
    if object_type.property(MASTER) is None:
        return found
    last = ""
    while True:
        where = f"IsDeleted = TRUE AND {MASTER} != NULL{f' AND Id > {soql.text(last)}' if last else ''}"
        query = soql.select(("Id", MASTER), object_type.key, where, f"ORDER BY Id LIMIT {PAGE}")
        raws = client.query(query, deleted=True)["records"]
        for raw in raws:
            found[raw[MASTER]] = (*found.get(raw[MASTER], ()), raw["Id"])
        if len(raws) < PAGE:
            return found
        last = raws[-1]["Id"]


def _masters(client: Client, key: str, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    for portion in soql.portions(ids):
        where = f"Id IN ({','.join(portion)}) AND IsDeleted = TRUE AND {MASTER} != NULL"
        for raw in client.query(soql.select(("Id", MASTER), key, where), deleted=True)["records"]:
            yield raw["Id"], raw[MASTER]
