"""Values that travel through a pull."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from syncline.contract import Op, RemoteRecord, Status, Value
from syncline.ledger.records import Problem, Scope
from syncline.syncs.engine import CompiledMapping
from syncline.syncs.engine.inbound import InboundMapping
from syncline.syncs.engine.threeway import Side, newest

from .glance import Glances


@dataclass(frozen=True)
class Inflow:
    """What does not change during a part. `shared`: properties that both sides may change; none in a plain pull.

    `history`: those of them whose earlier values are asked for. `whole`: a full listing is going on, so that what shares an
    identity with others is not known yet.
    """

    sync_id: int
    run_id: int
    scope: Scope
    mapping: CompiledMapping
    inbound: InboundMapping
    glances: Glances
    mode: str
    deletes: bool
    whole: bool = False
    history: tuple[str, ...] = ()

    @property
    def shared(self) -> Mapping[str, str]:
        return self.mapping.owners

    @property
    def referred(self) -> tuple[str, ...]:
        """Object types whose associations are asked for."""
        return tuple(dict.fromkeys(rule.object_type for rule in self.inbound.references))

    @property
    def two_way(self) -> bool:
        return self.mapping.content.pushes


@dataclass(frozen=True, slots=True)
class Known:
    """A link, locked for the transaction in which it was read.

    `fresher`: stored after the record that arrives was asked for; `lately`: when, if that was so shortly before that the system
    may not have shown it yet.
    """

    id: int
    dataset: str
    local_key: str
    remote_id: str
    state: str
    revision: int
    delivered: Mapping[str, str]
    seen: Mapping[str, str]
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    fresher: bool = False
    lately: dt.datetime | None = None

    def outdates(self, record: RemoteRecord) -> bool:
        """Whether the record may be older than what the link says."""
        return self.fresher or (self.lately is not None and newest(record.modified_at, self.lately) is not Side.THERE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a remote record without a link belongs: to `local_key`, to a new record (neither), or nowhere: `problem`.

    `later`: not decided yet, because not all of the account has been listed.
    """

    local_key: str | None = None
    problem: Problem | None = None
    later: bool = False


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that both sides changed."""

    property: str
    here: Value
    there: Value


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a record needs here. `op` None: nothing is written.

    `seen`: fingerprints once that is done; `agreed`: properties whose values are the same on both sides then; `associations`: the
    same for those, `linked`: for which object types they are complete. `pushes`: something of ours is to be written there.
    `waits`: a part of it has to come later.
    """

    record: RemoteRecord
    known: Known | None = None
    op: Op | None = None
    local_key: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    agreed: frozenset[str] = frozenset()
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    clashes: tuple[Clash, ...] = ()
    pushes: bool = False
    waits: Problem | None = None
    linked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that finds no place here: why. `state`: of the arrival."""

    record: RemoteRecord
    state: str
    problem: Problem
    counter: str
    known: Known | None = None
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing about it changed since it was last seen."""

    record: RemoteRecord
    known: Known


@dataclass(frozen=True, slots=True)
class Later:
    """To be fetched once more: a write of ours is on its way to it, it was looked at since, or not all is known yet."""

    record: RemoteRecord
    after: float = 0.0


Verdict = Arrived | Refused | Quiet | Later


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of an arrived record here."""

    arrived: Arrived
    status: Status
    local_key: str
    counter: str
