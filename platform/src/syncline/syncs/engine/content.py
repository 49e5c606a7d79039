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

    `target` is a remote property, or an object type when `association` is set.
    `transforms`: each `{"name": <transform>, <option>: <value>, …}`.
    """

    target: str
    source: str = ""
    expression: str = ""
    association: bool = False
    transforms: tuple[Mapping[str, Any], ...] = ()
    write_mode: str = WriteMode.OVERWRITE
    null_policy: str = NullPolicy.CLEAR

    @property
    def label(self) -> str:
        """How problems and lists name the rule."""
        origin = " ".join((self.source or self.expression or "(nothing)").split())
        return f"{origin if len(origin) <= 60 else origin[:59] + '…'} → {self.target or '(no target)'}"


@dataclass(frozen=True, slots=True)
class MappingContent:
    rules: tuple[RuleContent, ...]
    match: MatchRule = field(default_factory=MatchRule)
    filter: str = ""
    segment: str = ""
    mode: str = Mode.UPSERT

    def to_json(self) -> dict[str, Any]:
        return {
            "rules": [{**asdict(rule), "transforms": [dict(t) for t in rule.transforms]} for rule in self.rules],
            "match": [{**asdict(step), "also": list(step.also)} for step in self.match.steps],
            "filter": self.filter,
            "segment": self.segment,
            "mode": str(self.mode),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MappingContent:
        return cls(
            rules=tuple(RuleContent(**{**rule, "transforms": tuple(rule["transforms"])}) for rule in data["rules"]),
            match=MatchRule(tuple(MatchStep(**{**step, "also": tuple(step["also"])}) for step in data["match"])),
            filter=data["filter"],
            segment=data["segment"],
            mode=data["mode"],
        )

    @property
    def digest(self) -> str:
        """16 hex digits; equal for contents that say the same."""
        return digest_of(self.to_json())


def digest_of(data: object) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
