"""What identifies a remote record: which of its properties are indexed, and under which names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from syncline.contract import MatchStep, ObjectType, RemoteRecord
from syncline.contract.normalise import NORMALISERS
from syncline.ledger.storable import storable

OWN_KEY = "=key"
"""Index property under which the values of our own unique property stand, whatever it is called remotely."""

WIDEST = 700
"""Characters of a match value that are compared."""

_LONGEST_NAME = 200


def index_name(step: MatchStep) -> str:
    """Under which the step's values stand in the index: steps that read or compare differently never meet."""
    name = "|".join((step.property, step.normalise, *step.also))
    if len(name) <= _LONGEST_NAME:
        return name
    return name[: _LONGEST_NAME - 33] + "|" + blake2b(name.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Spec:
    """What is indexed of an object. `properties`: those read, of which the account may lack some that the steps name.

    `own`: name of our own unique property there, "" without one.
    """

    steps: tuple[MatchStep, ...]
    properties: tuple[str, ...]
    own: str

    @classmethod
    def of(cls, steps: Iterable[MatchStep], object_type: ObjectType) -> Spec:
        distinct = {index_name(step): step for step in steps}
        known = {p.name for p in object_type.properties}
        own = object_type.unique_key or ""
        wanted = [name for step in distinct.values() for name in (step.property, *step.also) if name in known]
        return cls(tuple(distinct.values()), tuple(dict.fromkeys([*wanted, *([own] if own else [])])), own)

    @property
    def names(self) -> list[str]:
        return [OWN_KEY, *(index_name(step) for step in self.steps)]

    def covers(self, other: Spec) -> bool:
        return self.own == other.own and set(self.names) >= set(other.names) and set(self.properties) >= set(other.properties)

    def to_json(self) -> dict[str, Any]:
        steps = [{"property": s.property, "also": list(s.also), "normalise": s.normalise} for s in self.steps]
        return {"steps": steps, "properties": list(self.properties), "own": self.own}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Spec:
        steps = (MatchStep(s["property"], tuple(s["also"]), s["normalise"]) for s in plain.get("steps", ()))
        return cls(tuple(steps), tuple(plain.get("properties", ())), plain.get("own", ""))

    def identities(self, record: RemoteRecord) -> Iterator[tuple[str, str, str]]:
        """(index property, normalised value, remote id) of one remote record."""
        if record.archived:
            return
        if self.own and (own := record.properties.get(self.own)):
            yield OWN_KEY, str(own), record.id
        for step in self.steps:
            for value in step_values(step, record):
                yield index_name(step), value, record.id


def step_values(step: MatchStep, record: RemoteRecord) -> set[str]:
    normalise = NORMALISERS[step.normalise]
    pieces = list(_pieces(record.properties.get(step.property), several=False))
    for name in step.also:
        pieces += _pieces(record.properties.get(name))
    return {value for piece in pieces if (value := storable(normalise(piece))[:WIDEST])}


def _pieces(value: Any, *, several: bool = True) -> Sequence[str]:
    """Additional domains and e-mails come as sets, or as one text with semicolons; in a name a semicolon is a character."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    return str(value).split(";") if several else (str(value),)
