"""What one answer means for the link: pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncline.contract import Code, Op, PushResult, RecordError, Status, Value
from syncline.ledger.models import Link
from syncline.ledger.records import Outcome, Problem
from syncline.syncs.engine.canonical import digest
from syncline.syncs.engine.diff import plan_write

from .identities import OWN_KEY, index_name
from .work import Deferred, Policy, Work, associations, final_state, held_after, held_problem, waiting_problem

State = Link.State
UNKNOWN_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is stored, and what still has to be done for the record in this run."""

    outcome: Outcome
    follow_up: Work | None = None
    deferred: Deferred | None = None


def outcome(policy: Policy, work: Work, result: PushResult, survivor: tuple[str, str] | None, existing_owner: str) -> Answer:
    """`survivor`: (id that answers for a lost one, its owner); `existing_owner`: who a conflicting record is linked to."""
    answer = _answer(policy, work, result, survivor, existing_owner)
    counted = work.counted or bool(answer.outcome.counter)
    link = work.row.link
    known = bool(link and link.seen and link.state == State.WAITING)
    stored = replace(
        answer.outcome, counter="" if work.counted else answer.outcome.counter, waiting=answer.outcome.waiting and not known
    )
    return replace(answer, outcome=stored, follow_up=answer.follow_up and replace(answer.follow_up, counted=counted))


def _answer(policy: Policy, work: Work, result: PushResult, survivor: tuple[str, str] | None, existing_owner: str) -> Answer:
    if result.status in (Status.CREATED, Status.UPDATED, Status.UNCHANGED):
        return _delivered(policy, work, result)
    if result.status is Status.REJECTED:
        error = result.error or RecordError(Code.OTHER, "The system refused this record without saying why.")
        if error.code is Code.NOT_FOUND and work.remote_id:
            return _lost(policy, work, survivor)
        if error.code is Code.CONFLICT and error.existing_id and not work.remote_id:
            return _conflict(policy, work, error, existing_owner)
        return Answer(_refused(work, error))
    if result.status is Status.NOT_SENT:
        return Answer(not_sent(work), deferred=Deferred(work.key, 1.0))
    return _unknown(policy, work)


def not_sent(work: Work) -> Outcome:
    """As before the mark: certainly not carried out, unless an earlier attempt may have been."""
    link = work.row.link
    if work.again or (work.delivered is None and work.op is Op.UPDATE and not work.adopting):
        doubt = _base(work, State.UNCERTAIN, uncertain_op=work.op.value)
        return replace(doubt, refused_digest=link.refused_digest if link else "")
    if work.op is Op.ASSOCIATE:
        return _base(work, State.PENDING)
    return replace(_base(work, State.PENDING), remote_id=link.remote_id if link else None)


def postponed(work: Work, error: RecordError | None) -> Answer:
    """Refused because the account's definitions changed: it is read, mapped and sent again by the new ones."""
    said = f"{error.message} The account changed; it is sent again." if error else "The account changed; it is sent again."
    refused = replace(not_sent(work), op=work.op, status=Status.REJECTED, sent=_sent(work))
    return Answer(replace(refused, note=Problem(error.code if error else "", said)), deferred=Deferred(work.key, 0.0))


def _base(work: Work, state: Link.State, *, uncertain_op: str = "") -> Outcome:
    return Outcome(
        work.key,
        work.revision,
        state,
        remote_id=work.remote_id,
        delivered=work.delivered or {},
        associations=work.have,
        uncertain_op=uncertain_op,
    )


def _delivered(policy: Policy, work: Work, result: PushResult) -> Answer:
    remote_id = result.remote_id or work.remote_id
    if remote_id is None:
        return _unknown(policy, work)
    stored = replace(
        _base(work, final_state(work.references)),
        remote_id=remote_id,
        delivered=work.write.settled,
        source_hash=None if work.mapped.held else work.row.hash,
        problem=waiting_problem(work.references) or held_problem(work.mapped),
        waiting=final_state(work.references) == State.WAITING,
        op=work.op,
        status=result.status,
        sent=_sent(work),
        counter=_counter(work, result),
        seen=work.write.seen,
        clashes=work.write.clashes,
    )
    if work.op is Op.ASSOCIATE:
        return Answer(replace(stored, associations=held_after(work.references, work.have)))
    if work.remote_id is None or work.adopting or _identifies(policy, work):
        stored = replace(stored, identities=_identities(policy, work))
    if not associations(work.references, work.have):
        return Answer(stored)
    pending = replace(stored, state=State.PENDING, source_hash=None, problem=None, waiting=False)
    follow_up = replace(
        work,
        op=Op.ASSOCIATE,
        revision=work.revision + 1,
        remote_id=remote_id,
        delivered=work.write.settled,
        counter="",
        adopting=False,
        again=False,
    )
    return Answer(pending, follow_up)


def _sent(work: Work) -> dict[str, Value]:
    if work.op is Op.ASSOCIATE:
        changes = associations(work.references, work.have)
        return {("remove " if a.remove else "") + f"{a.object_type}:{a.remote_id}": True for a in changes}
    return dict(work.write.properties)


def _counter(work: Work, result: PushResult) -> str:
    if work.op is Op.ASSOCIATE:
        return work.counter
    if work.adopting:
        return work.counter or "adopted"
    if work.op is Op.UPSERT and result.status is Status.UPDATED:
        return "created" if work.again else "adopted"
    return {Status.CREATED: "created", Status.UPDATED: "updated", Status.UNCHANGED: "unchanged"}[result.status]


def _identifies(policy: Policy, work: Work) -> bool:
    """Whether a value was written by which the record is found."""
    return any(step.property in work.write.properties for step in policy.rule.steps)


def _identities(policy: Policy, work: Work) -> tuple[tuple[str, str], ...]:
    found = [(index_name(policy.rule.steps[n]), value) for n, value in policy.mapping.match_values(work.row.values)]
    if policy.object_type.unique_key and work.keyed:
        found.append((OWN_KEY, policy.unique_value(work.key)))
    return tuple(dict.fromkeys(found))


def _refused(work: Work, error: RecordError) -> Outcome:
    problem = Problem(error.code.value, error.message, error.property or "", group=f"{error.vendor_code}:{error.property}")
    return replace(
        _base(work, State.REJECTED),
        remote_id=None if work.adopting else work.remote_id,
        source_hash=work.row.hash,
        refused_digest=digest(work.write.settled),
        problem=problem,
        op=work.op,
        status=Status.REJECTED,
        sent=_sent(work),
        counter="rejected",
    )


def _lost(policy: Policy, work: Work, survivor: tuple[str, str] | None) -> Answer:
    if survivor is None and work.adopting:
        return _vanished(work)
    if survivor is None and _taken_away_by_us(work):
        return _recreate(policy, work)
    if survivor is None:
        return _GONE["leave" if policy.mode == "update" else policy.gone_policy](policy, work)
    remote_id, owner = survivor
    attempt = replace(_base(work, State.PENDING), op=work.op, status=Status.REJECTED, sent=_sent(work))
    if remote_id != work.remote_id:
        attempt = replace(attempt, vanished=work.remote_id or "", survivor=remote_id)
    if owner and remote_id != work.remote_id:
        reason = f"Remote record {work.remote_id} was merged into {remote_id}, which is linked to our record {owner}."
        problem = Problem("merged", reason + " Merge or correct our two records.", group="merged")
        return Answer(replace(attempt, state=State.MERGED, source_hash=work.row.hash, problem=problem, counter="gone"))
    if remote_id == work.remote_id:
        return Answer(
            _refused(work, RecordError(Code.NOT_FOUND, f"The system lists record {remote_id}, but refuses to write it."))
        )
    write = plan_write(policy.mapping, work.mapped, None, creating=False, remote=None)
    moved = replace(attempt, remote_id=remote_id, delivered={})
    again = replace(
        work, op=Op.UPDATE, revision=work.revision + 1, remote_id=remote_id, write=write, delivered=None, have={}, again=True
    )
    return Answer(moved, again)


def _taken_away_by_us(work: Work) -> bool:
    """It left the sync, its removal got no answer, and it came back: that is no deletion by somebody else."""
    link = work.row.link
    return bool(link and link.state == State.UNCERTAIN and link.uncertain_op in (Op.ARCHIVE, Op.DELETE))


def _vanished(work: Work) -> Answer:
    """It was deleted between the look-up and the write, and never was ours: look again."""
    link = work.row.link
    if link and link.remote_id:  # linked by hand
        reason = f"There is no remote record {work.remote_id}. Link another one, or unlink it to have it matched."
        return Answer(_after_loss(work, State.AMBIGUOUS, Problem("not_there", reason, group="not_there"), "ambiguous"))
    attempt = replace(_base(work, State.PENDING), remote_id=None, op=work.op, status=Status.REJECTED, sent=_sent(work))
    return Answer(replace(attempt, vanished=work.remote_id or ""), deferred=Deferred(work.key, 0.0))


def _leave(_policy: Policy, work: Work) -> Answer:
    problem = Problem("gone", f"Remote record {work.remote_id} was deleted. Its sync says to leave it so.", group="gone")
    return Answer(_after_loss(work, State.GONE, problem, "gone"))


def _review(_policy: Policy, work: Work) -> Answer:
    problem = Problem("gone", f"Remote record {work.remote_id} was deleted. Decide whether to create it again.", group="gone")
    return Answer(_after_loss(work, State.AMBIGUOUS, problem, "ambiguous"))


def _recreate(_policy: Policy, work: Work) -> Answer:
    """Not at once: somebody may have put another record in its place, which the next look finds."""
    cleared = replace(
        _base(work, State.PENDING),
        remote_id=None,
        delivered={},
        associations={},
        op=work.op,
        status=Status.REJECTED,
        sent=_sent(work),
        vanished=work.remote_id or "",
    )
    return Answer(cleared, deferred=Deferred(work.key, 0.0))


_GONE: dict[str, Callable[[Policy, Work], Answer]] = {"leave": _leave, "review": _review, "recreate": _recreate}


def _after_loss(work: Work, state: Link.State, problem: Problem, counter: str) -> Outcome:
    return replace(
        _base(work, state),
        source_hash=work.row.hash,
        problem=problem,
        op=work.op,
        status=Status.REJECTED,
        sent=_sent(work),
        counter=counter,
        vanished=work.remote_id or "",
    )


def _conflict(policy: Policy, work: Work, error: RecordError, owner: str) -> Answer:
    """A unique value belongs to a record that was not there when we looked."""
    attempt = replace(_base(work, State.PENDING), op=work.op, status=Status.REJECTED, sent=_sent(work))
    if owner:
        reason = f"{error.message} That record is linked to our record {owner}. Correct one of the two."
        problem = Problem("linked_to_other", reason, error.property or "", group="linked_to_other")
        return Answer(replace(attempt, state=State.AMBIGUOUS, source_hash=work.row.hash, problem=problem, counter="ambiguous"))
    if policy.mode == "create" and not work.again:
        problem = Problem("exists", f"It exists already as {error.existing_id}.")
        return Answer(replace(attempt, state=State.EXCLUDED, source_hash=work.row.hash, problem=problem, counter="excluded"))
    write = plan_write(policy.mapping, work.mapped, None, creating=False, remote=None)
    adopted = replace(
        work, op=Op.UPDATE, revision=work.revision + 1, remote_id=error.existing_id, write=write, delivered=None, adopting=True
    )
    return Answer(attempt, adopted)


def _unknown(policy: Policy, work: Work) -> Answer:
    wait = policy.object_type.visibility_lag if work.op is Op.CREATE else UNKNOWN_RETRY
    doubt = replace(_base(work, State.UNCERTAIN, uncertain_op=work.op.value), op=work.op, status=Status.UNKNOWN, sent=_sent(work))
    if work.op is Op.CREATE:
        doubt = replace(doubt, refused_digest=policy.identity(work.row))
    if work.op is Op.ASSOCIATE:
        doubt = replace(doubt, state=State.PENDING, uncertain_op="")
    return Answer(doubt, deferred=Deferred(work.key, wait))
