"""After our rows were written: what of them is the same on both sides now, so that the echo of a pull is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncline.contract import Status, Value
from syncline.ledger.pull_writer import PulledLink
from syncline.syncs.engine import fingerprint

from . import local
from .ground import Ground
from .work import Arrived, Landed


@dataclass(frozen=True, slots=True)
class Prints:
    """`agreed`: fingerprints of our values that both sides have; `all_`: whether those are all that would be pushed."""

    agreed: Mapping[str, str]
    all_: bool
    hash: int


def prints(ground: Ground, landed: Sequence[Landed]) -> dict[str, Prints]:
    """By local key; none where nobody pushes these records."""
    if ground.settling is None or not landed:
        return {}
    ours = local.read(ground.settling.source, [one.local_key for one in landed])
    return {one.local_key: _prints(ground, one.arrived, ours[one.local_key]) for one in landed if one.local_key in ours}


def _prints(ground: Ground, one: Arrived, ours: local.Ours) -> Prints:
    mapping = ground.settling.mapping if ground.settling else ground.job.mapping
    mapped = mapping.map(ours.values)
    before = one.known.delivered if one.known else {}
    agreed = {
        name: fingerprint(value)
        for name, value in mapped.properties.items()
        if name in one.agreed or _same(one.record.properties, name, value)
    }
    known = {**before, **agreed}
    quiet = mapped.included and not mapped.problems and not one.pushes and not one.clashes
    everything = all(known.get(name) == fingerprint(value) for name, value in mapped.properties.items())
    return Prints(agreed, quiet and everything and _linked(one, mapped.references), ours.hash)


def _linked(one: Arrived, references: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether nothing is left to be associated there."""
    held = one.known.associations if one.known else {}
    return all(name in one.linked or not (keys or held.get(name)) for name, keys in references.items())


def _same(properties: Mapping[str, Value], name: str, value: Value) -> bool:
    return name in properties and fingerprint(properties[name]) == fingerprint(value)


def link(one: Landed, found: Prints | None) -> PulledLink:
    arrived = one.arrived
    told = one.status in (Status.CREATED, Status.UPDATED) or arrived.known is None
    return PulledLink(
        local_key=one.local_key,
        remote_id=arrived.record.id,
        seen=arrived.seen,
        status=one.status.value if told else "",
        values=arrived.values if told else {},
        delivered=found.agreed if found else {},
        associations=arrived.associations,
        source_hash=found.hash if found and found.all_ else None,
        settled=bool(found and found.all_),
        reopened=arrived.pushes,
    )
