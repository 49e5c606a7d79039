"""Takes away the remote side of records that left the sync: clear, archive or delete, by the sender's discipline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from syncline.contract import Code, ObjectType, Op, PushResult, RecordError, Status, Value
from syncline.ledger.models import Link
from syncline.ledger.records import Outcome, Problem
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.engine.compile import CompiledMapping, Mapped
from syncline.syncs.engine.content import WriteMode
from syncline.syncs.engine.diff import Write

from .reader import LinkState, Row
from .sender import Sender
from .work import Deferred, References, Sent, Work

State = Link.State
REMOVED: Final = "removed"
CLEARED: Final = "cleared"
EMPTY: Final = fingerprint(None)
DONE: Final[Mapping[Op, str]] = {Op.UPDATE: "cleared", Op.ARCHIVE: "archived", Op.DELETE: "deleted"}


@dataclass(frozen=True, slots=True)
class Left:
    """A record of ours that left the sync, and the remote one it is linked to. `why`: a sentence."""

    local_key: str
    remote_id: str
    revision: int
    state: str
    delivered: Mapping[str, str] = field(default_factory=dict)
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    uncertain_op: str = ""
    why: str = ""


def to_clear(mapping: CompiledMapping, object_type: ObjectType) -> tuple[str, ...]:
    """Properties that are ours alone: where a rule only fills gaps or adds to a set, the value may be somebody else's."""
    writable = {p.name for p in object_type.properties if not p.read_only}
    rules = mapping.rules.items()
    return tuple(target for target, rule in rules if rule.write_mode == WriteMode.OVERWRITE and target in writable)


def cleared_print(targets: Sequence[str]) -> dict[str, str]:
    """What a link's `delivered` says once all of them were cleared."""
    return dict.fromkeys(targets, EMPTY)


def removal(left: Left, op: Op, targets: Sequence[str]) -> Work:
    """The call that one record needs. `targets`: what is cleared."""
    properties: dict[str, Value] = {}
    if op is Op.UPDATE:
        properties = {name: None for name in targets if left.delivered.get(name) != EMPTY}
    write = Write(properties, {**left.delivered, **cleared_print(list(properties))})
    link = LinkState(
        left.remote_id,
        left.state,
        left.revision,
        left.delivered,
        left.associations,
        None,
        "",
        left.uncertain_op,
        0.0,
        False,
        False,
    )
    row = Row(left.local_key, {}, 0, link)
    return Work(
        row, Mapped(), op, left.revision, left.remote_id, write, References({}, {}), left.delivered, dict(left.associations)
    )


class Remover(Sender):
    """A sender whose answers are about records that go."""

    def _store(self, batch: Sequence[Work], results: dict[str, PushResult], sent: Sent) -> None:
        self._record([removed(work, results[work.key]) for work in batch], sent)
        sent.deferred += [Deferred(w.key, 0.0) for w in batch if results[w.key].status in (Status.UNKNOWN, Status.NOT_SENT)]


def removed(work: Work, result: PushResult) -> Outcome:
    """What one answer means for the link: pure."""
    if result.status is Status.REJECTED and result.error and result.error.code is Code.NOT_FOUND:
        return _gone(work, Status.UNCHANGED, "was not there any more")
    if result.status is Status.REJECTED:
        return _refused(work, result.error)
    if result.status is Status.NOT_SENT:
        return _as_before(work)
    if result.status is Status.UNKNOWN:
        return replace(_kept(work, State.UNCERTAIN), op=work.op, status=Status.UNKNOWN, uncertain_op=work.op.value)
    if work.op is Op.UPDATE:
        return _emptied(work, result.status)
    return _gone(work, result.status, f"was {DONE[work.op]}")


def _kept(work: Work, state: Link.State) -> Outcome:
    return Outcome(
        work.key, work.revision, state, remote_id=work.remote_id, delivered=work.delivered or {}, associations=work.have
    )


def _gone(work: Work, status: Status, what: str) -> Outcome:
    reason = f"Our record left this sync; remote record {work.remote_id} {what}."
    return Outcome(
        work.key,
        work.revision,
        State.EXCLUDED,
        note=Problem(REMOVED, reason),
        op=work.op,
        status=status,
        counter=REMOVED,
        vanished=work.remote_id or "",
    )


def _emptied(work: Work, status: Status) -> Outcome:
    """The link stays: the remote record is still ours, and is filled again when ours comes back."""
    names = ", ".join(work.write.properties)
    return replace(
        _kept(work, State.EXCLUDED),
        delivered=work.write.settled,
        note=Problem(CLEARED, f"Our record left this sync; {names} of remote record {work.remote_id} were cleared."),
        op=work.op,
        status=status,
        sent=dict(work.write.properties),
        counter=REMOVED,
    )


def _refused(work: Work, error: RecordError | None) -> Outcome:
    told = error or RecordError(Code.OTHER, "The system refused to remove this record without saying why.")
    problem = Problem(told.code.value, told.message, told.property or "", group=f"remove {told.vendor_code}")
    return replace(_kept(work, State.REJECTED), problem=problem, op=work.op, status=Status.REJECTED, counter="rejected")


def _as_before(work: Work) -> Outcome:
    """Certainly not carried out. An earlier doubt stays."""
    link = work.row.link
    before = State(link.state) if link else State.PENDING
    doubt = link.uncertain_op if link and before == State.UNCERTAIN else ""
    return replace(_kept(work, before), uncertain_op=doubt)
