"""How records are told to be the same, and what a connector suggests for a pair it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .values import Property


@dataclass(frozen=True, slots=True)
class MatchStep:
    """Records are the same when a value of ours equals one of theirs after normalising.

    `property`: the remote property, whose mapped value is our side.
    `also`: further remote properties whose values identify the remote record as well (e.g. additional domains).
    `normalise`: a name from `syncline.contract.normalise.NORMALISERS`.
    `only_if_unique`: a value that several records share, here or there, identifies nobody (names).
    """

    property: str
    also: tuple[str, ...] = ()
    normalise: str = "text"
    only_if_unique: bool = False


@dataclass(frozen=True, slots=True)
class MatchRule:
    """Tried in order; the first step that hits decides. Our own unique key always goes first."""

    steps: tuple[MatchStep, ...] = ()


@dataclass(frozen=True, slots=True)
class SuggestedRule:
    """A default field rule: `source` (a dataset field) or `expression` (CEL) → `target`.

    `transforms`: for the way there. A sync that pulls takes the rules it can read backwards.
    `owner`: whose value holds in a two-way sync: "here", "there", "newest" (whoever changed it last) or "review" (a person
    decides when both changed it). Where the rule cannot be read backwards, it is "here" all the same.
    """

    target: str
    source: str = ""
    expression: str = ""
    transforms: tuple[Mapping[str, Any], ...] = ()
    write_mode: str = "overwrite"
    null_policy: str = "clear"
    association: bool = False  # target is then an object type
    owner: str = "here"


@dataclass(frozen=True, slots=True)
class SuggestedMapping:
    """Defaults for a known pair; an empty one says that the connector knows nothing about the pair.

    `create`: properties the rules need that the account does not have yet.
    """

    rules: tuple[SuggestedRule, ...] = ()
    match: MatchRule = MatchRule()
    create: tuple[Property, ...] = ()
