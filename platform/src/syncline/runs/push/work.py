"""Values that travel through the push pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from syncline.contract import Association, MatchRule, ObjectType, Op
from syncline.ledger.models import Link
from syncline.ledger.records import Outcome, Problem
from syncline.syncs.engine.canonical import digest
from syncline.syncs.engine.compile import CompiledMapping, Mapped
from syncline.syncs.engine.diff import Write

from .reader import Row


@dataclass(frozen=True)
class Policy:
    """What does not change during a run. `share`: see Batches."""

    mapping: CompiledMapping
    rule: MatchRule
    object_type: ObjectType
    mode: str
    gone_policy: str
    key_prefix: str
    force: bool = False
    share: float = 1.0

    def unique_value(self, local_key: str) -> str:
        return f"{self.key_prefix}{local_key}"

    def identity(self, row: Row) -> str:
        """Digest of the record's match values, "" when it has none: then nothing could find it again."""
        values = self.mapping.match_values(row.values)
        return digest({f"{step}:{value}": "" for step, value in values}) if values else ""


@dataclass(frozen=True, slots=True)
class References:
    """Where a record's associations shall lead: remote ids by object type, and what is not linked yet."""

    ids: Mapping[str, frozenset[str]]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Work:
    """A record that needs a call. `revision`: of its link as last known; `delivered` None: not known for sure.

    `again`: an earlier attempt may have been carried out already. `counted`: this run has counted the record already.
    """

    row: Row
    mapped: Mapped
    op: Op
    revision: int
    remote_id: str | None
    write: Write
    references: References
    delivered: Mapping[str, str] | None
    have: Mapping[str, list[str]]
    adopting: bool = False
    keyed: bool = True
    again: bool = False
    counted: bool = False
    counter: str = ""

    @property
    def key(self) -> str:
        return self.row.key


@dataclass(frozen=True, slots=True)
class Deferred:
    """A record to look at again in `after` seconds; sooner when it waits for another worker's answer, which comes any moment."""

    key: str
    after: float
    answered_soon: bool = False


Verdict = Outcome | Work | Deferred


@dataclass
class Sent:
    """What a batch left to do."""

    follow_ups: list[Work] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)

    def drop(self, keys: Collection[str]) -> None:
        """Nothing more is done for these in this batch: their links say otherwise by now."""
        self.follow_ups = [w for w in self.follow_ups if w.key not in keys]
        self.deferred = [d for d in self.deferred if d.key not in keys]


def associations(references: References, have: Mapping[str, list[str]]) -> tuple[Association, ...]:
    """What to add and to take away; nothing is taken away while something is not linked yet."""
    changes: list[Association] = []
    for object_type, wanted in sorted(references.ids.items()):
        held = set(have.get(object_type, ()))
        changes += [Association(object_type, r) for r in sorted(wanted - held)]
        if not references.missing.get(object_type):
            changes += [Association(object_type, r, remove=True) for r in sorted(held - wanted)]
    return tuple(changes)


def held_after(references: References, have: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What is associated once `associations` was carried out."""
    held = {name: set(ids) for name, ids in have.items()}
    for change in associations(references, have):
        mine = held.setdefault(change.object_type, set())
        (mine.discard if change.remove else mine.add)(change.remote_id)
    return {name: sorted(ids) for name, ids in held.items() if ids}


def waiting_problem(references: References) -> Problem | None:
    missing = [(name, keys) for name, keys in references.missing.items() if keys]
    if not missing:
        return None
    name, keys = missing[0]
    return Problem(
        "waiting",
        f"{len(keys)} of its {name} (our record {', '.join(keys[:3])}) {'is' if len(keys) == 1 else 'are'} not linked yet."
        " It is associated as soon as they are.",
        property=name,
        group=name,
    )


def held_problem(mapped: Mapped) -> Problem | None:
    """The record is delivered but for this. It is looked at in every run, so that each says so."""
    if not mapped.held:
        return None
    first, more = mapped.held[0], len(mapped.held) - 1
    said = f"{first.message} ({more} more in this record)" if more else first.message
    return Problem("suspended", said, property=first.target, group=first.target)


def final_state(references: References) -> Link.State:
    return Link.State.WAITING if waiting_problem(references) else Link.State.DELIVERED
