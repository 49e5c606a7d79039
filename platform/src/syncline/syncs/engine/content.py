"""What a mapping says, as frozen values: the part of a sync that is published as a numbered version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from syncline.contract.mapping import MatchRule, MatchStep


class Mode(StrEnum):
    """Which records a push may write."""

    UPSERT = "upsert"
    UPDATE = "update"
    CREATE = "create"
    MIRROR = "mirror"


class Direction(StrEnum):
    """Which way records travel."""

    PUSH = "push"
    PULL = "pull"
    TWO_WAY = "two_way"


class WriteMode(StrEnum):
    """When one property is written."""

    OVERWRITE = "overwrite"
    IF_EMPTY = "if_empty"
    IF_NEW = "if_new"
    APPEND = "append"


class NullPolicy(StrEnum):
    """What an empty value does to the remote property."""

    CLEAR = "clear"
    SKIP = "skip"


class Owner(StrEnum):
    """Whose value of a field holds, in a two-way sync; those of a push are all HERE, of a pull all THERE."""

    HERE = "here"
    THERE = "there"
    NEWEST = "newest"
    REVIEW = "review"

    @property
    def pushes(self) -> bool:
        return self is not Owner.THERE

    @property
    def pulls(self) -> bool:
        return self is not Owner.HERE


@dataclass(frozen=True, slots=True)
class RuleContent:
    """One enabled field rule: `source` (a dataset field) or `expression` (CEL), then `transforms`, to `target`.

    `target` is a remote property, or an object type when `association` is set. Where the rule pulls (see `owner`), the value goes
    from the property to the field, through the same transforms.
    `transforms`: each `{"name": <transform>, <option>: <value>, …}`.
    """

    target: str
    source: str = ""
    expression: str = ""
    association: bool = False
    transforms: tuple[Mapping[str, Any], ...] = ()
    write_mode: str = WriteMode.OVERWRITE
    null_policy: str = NullPolicy.CLEAR
    owner: str = Owner.HERE

    @property
    def pushes(self) -> bool:
        return Owner(self.owner).pushes

    @property
    def pulls(self) -> bool:
        return Owner(self.owner).pulls

    @property
    def label(self) -> str:
        """How problems and lists name the rule."""
        origin = " ".join((self.source or self.expression or "(nothing)").split())
        arrow = {Owner.HERE: "→", Owner.THERE: "←"}.get(Owner(self.owner), "↔") if self.owner in set(Owner) else "→"
        return f"{origin if len(origin) <= 60 else origin[:59] + '…'} {arrow} {self.target or '(no target)'}"


@dataclass(frozen=True, slots=True)
class MappingContent:
    rules: tuple[RuleContent, ...]
    match: MatchRule = field(default_factory=MatchRule)
    filter: str = ""
    segment: str = ""
    mode: str = Mode.UPSERT
    direction: str = Direction.PUSH

    @property
    def pushes(self) -> bool:
        return self.direction != Direction.PULL

    @property
    def pulls(self) -> bool:
        return self.direction != Direction.PUSH

    def to_json(self) -> dict[str, Any]:
        """Without what says no more than that it is a push, so that a push has the digest it always had."""
        return {
            "rules": [_rule_json(rule) for rule in self.rules],
            "match": [{**asdict(step), "also": list(step.also)} for step in self.match.steps],
            "filter": self.filter,
            "segment": self.segment,
            "mode": str(self.mode),
            **({} if self.direction == Direction.PUSH else {"direction": str(self.direction)}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MappingContent:
        return cls(
            rules=tuple(RuleContent(**{**rule, "transforms": tuple(rule["transforms"])}) for rule in data["rules"]),
            match=MatchRule(tuple(MatchStep(**{**step, "also": tuple(step["also"])}) for step in data["match"])),
            filter=data["filter"],
            segment=data["segment"],
            mode=data["mode"],
            direction=data.get("direction", Direction.PUSH),
        )

    @property
    def digest(self) -> str:
        """16 hex digits; equal for contents that say the same."""
        return digest_of(self.to_json())


def _rule_json(rule: RuleContent) -> dict[str, Any]:
    plain = {**asdict(rule), "transforms": [dict(t) for t in rule.transforms]}
    if rule.owner == Owner.HERE:
        del plain["owner"]
    return plain


def digest_of(data: object) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
