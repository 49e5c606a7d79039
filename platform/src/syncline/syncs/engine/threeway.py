"""Which side of a field holds: what is here and there now, against what both were when they last agreed. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from syncline.contract.values import Value

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

    `newer`: on which side the record was changed last, None when nobody knows. A side that never agreed has changed when it is
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


def newest(there: dt.datetime | None, here: dt.datetime | None) -> Side | None:
    """On which side a record was changed last; None when one of the moments is not known."""
    if there is None or here is None:
        return None
    return Side.THERE if there > here else Side.HERE


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
