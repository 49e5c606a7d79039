"""What the writer stores: frozen rows, made by the push pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncline.contract import Op, Status, Value

from .models import Link

State = Link.State

MATCHED_JOB = "match "
"""How the tag of a bulk job begins that finds existing records itself: what is in doubt after it is matched anew."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose links: one dataset delivered to one object of one connection."""

    connection_id: int
    object_type: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Fence:
    """The claim under which something is stored; stale once another worker claimed the part."""

    part_id: int
    fence: int
    run_id: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A record about to be sent. `revision`: as read with the source row, 0 when there was no link.

    `identity`: digest of its match values, kept while it is unknown whether the record was created; for a bulk job its tag.
    `settled`, `source_hash`: what will have been delivered, and of which row, kept while a bulk job is going on.
    """

    local_key: str
    revision: int
    op: Op
    remote_id: str | None = None
    identity: str = ""
    settled: Mapping[str, str] | None = None
    source_hash: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record is not delivered; records with the same state, code, property and `group` are one error group."""

    code: str
    reason: str
    property: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new state of one link, and the attempt that led to it (`status` None: nothing was sent).

    `problem`: why it is not delivered; `note`: the same for what is as it should be, and nobody has to look at.

    `revision`: what the link must still have, 0 when there was none.
    `counter`: name of the run counter this record adds to, "" for none.
    `seen`: fingerprints of what is there now, of properties that both sides may change; `clashes`: those that both changed, with
    our value and theirs.
    `vanished`: remote id that is certain not to be there any more; `survivor`: the one it was merged into.
    """

    local_key: str
    revision: int
    state: State
    remote_id: str | None = None
    delivered: Mapping[str, str] = field(default_factory=dict)
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    source_hash: int | None = None
    refused_digest: str = ""
    problem: Problem | None = None
    note: Problem | None = None
    op: Op | None = None
    status: Status | None = None
    sent: Mapping[str, Value] = field(default_factory=dict)
    counter: str = ""
    identities: tuple[tuple[str, str], ...] = ()
    waiting: bool = False
    uncertain_op: str = ""
    vanished: str = ""
    survivor: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)
    clashes: Mapping[str, tuple[Value, Value]] = field(default_factory=dict)
