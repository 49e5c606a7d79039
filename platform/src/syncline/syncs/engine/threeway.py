"""Which side of a field holds: what is here and there now, against what both were when they last agreed. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import dropwhile, takewhile
from typing import Final

from syncline.contract.values import ObjectType, PastValue, RemoteRecord, Value

from .canonical import fingerprint
from .content import Owner


class Side(StrEnum):
    AGREED = "agreed"  # both sides have the same value
    HERE = "here"  # ours is to be written there
    THERE = "there"  # theirs is to be written here
    CONFLICT = "conflict"  # both changed; a person decides, and nothing is written
    QUIET = "quiet"  # the values differ as they did when the sides last agreed: a transform, or the vendor's own form


EMPTY: Final = fingerprint(None)

UNSURE: Final = "?"
"""Stands for the fingerprint of what was delivered to a property that was suspended since: what is there is not known."""


def holds(owner: str, here: Value, there: Value, delivered: str | None, seen: str | None, newer: Side | None = None) -> Side:
    """`delivered`, `seen`: fingerprints of our value and theirs when both last agreed, None when they never did.

    `newer`: on which side it was changed last, None when nobody knows. A side that never agreed has changed when it is
    not empty.
    """
    ours, theirs = fingerprint(here), fingerprint(there)
    if ours == theirs:
        return Side.AGREED
    changed_here = ours != (EMPTY if delivered is None else delivered)
    changed_there = theirs != (EMPTY if seen is None else seen)
    if changed_here != changed_there:
        return _one_side(owner, changed_here)
    return _overlap(owner, newer) if changed_here else Side.QUIET


def newest(there: object, here: object) -> Side | None:
    """On which side something was changed last; None when a moment is not known: a day, or a time of no zone, is none."""
    if not (isinstance(there, dt.datetime) and isinstance(here, dt.datetime) and there.tzinfo and here.tzinfo):
        return None
    return Side.THERE if there > here else Side.HERE


@dataclass(frozen=True, slots=True)
class Moments:
    """When a record was changed last: ours as a whole, theirs by property where its history is known, else as a whole too."""

    here: object = None
    there: dt.datetime | None = None
    properties: Mapping[str, dt.datetime] = field(default_factory=dict)

    def newer(self, name: str) -> Side | None:
        return newest(self.properties.get(name, self.there), self.here)


UNKNOWN: Final = Moments()


def moments(record: RemoteRecord, here: object) -> Moments:
    """`here`: what our dataset says, whatever that is."""
    told = ((name, _since(past, record.properties.get(name))) for name, past in record.history.items())
    return Moments(here, record.modified_at, {name: at for name, at in told if at is not None})


def dated(owners: Mapping[str, str], names: Iterable[str], object_type: ObjectType) -> tuple[str, ...]:
    """Those properties whose history decides, where the system can tell it."""
    return tuple(name for name in names if owners.get(name) == Owner.NEWEST) if object_type.pull_history else ()


def _since(past: Sequence[PastValue], value: Value) -> dt.datetime | None:
    """From when on it was there, None when the history does not know.

    What is newer in the history came after the value was read. The same value written once more is no change.
    """
    print_ = fingerprint(value)
    reached = dropwhile(lambda one: fingerprint(one.value) != print_, past)
    same = list(takewhile(lambda one: fingerprint(one.value) == print_, reached))
    return same[-1].at if same else None


def bases(delivered: Mapping[str, str], seen: Mapping[str, str], name: str) -> tuple[str | None, str | None]:
    """The two fingerprints of a property for `holds`, from what a link keeps: what was delivered there was seen there."""
    ours, theirs = delivered.get(name), seen.get(name) or delivered.get(name)
    return None if ours == UNSURE else ours, None if theirs == UNSURE else theirs


def _one_side(owner: str, changed_here: bool) -> Side:
    """A field that belongs to one side is left alone when only the other one changed."""
    if changed_here:
        return Side.HERE if owner != Owner.THERE else Side.QUIET
    return Side.THERE if owner != Owner.HERE else Side.QUIET


def _overlap(owner: str, newer: Side | None) -> Side:
    if owner == Owner.HERE:
        return Side.HERE
    if owner == Owner.THERE:
        return Side.THERE
    return newer if owner == Owner.NEWEST and newer else Side.CONFLICT
