"""What does one row need? Pure: nothing, a note in the ledger, or a call."""

from __future__ import annotations

from dataclasses import replace

from syncline.contract import Op
from syncline.ledger.models import Link
from syncline.ledger.records import MATCHED_JOB, Outcome, Problem
from syncline.syncs.engine.canonical import digest
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.diff import plan_write

from .matching import CREATE, Match
from .reader import LinkState, Row
from .work import Deferred, Policy, References, Verdict, Work, associations, final_state, held_problem, waiting_problem

State = Link.State
UNTRACEABLE = (
    "It was sent once without an answer, and nothing can tell whether it arrived."
    " Look for it in the account; link it by hand, or ask to send it again."
)


def classify(policy: Policy, row: Row, mapped: Mapped, references: References, match: Match = CREATE) -> Verdict:
    """`match` counts only for rows that are not linked."""
    verdict = _verdict(policy, row, mapped, references, match)
    return replace(verdict, counted=bool(row.link and row.link.seen)) if isinstance(verdict, Work) else verdict


def _verdict(policy: Policy, row: Row, mapped: Mapped, references: References, match: Match) -> Verdict:
    if row.link and row.link.state == State.UNCERTAIN and row.link.uncertain_seconds < 0:
        # two calls on their way at once could arrive in either order
        return Deferred(row.key, -row.link.uncertain_seconds, answered_soon=True)
    if mapped.problems:
        return _invalid(row, mapped)
    if not mapped.included:
        return note(row, State.EXCLUDED, "excluded")
    link = row.link
    if link and link.remote_id:
        return _linked(policy, row, link, mapped, references, match)
    return _unlinked(policy, row, mapped, references, match)


def note(row: Row, state: Link.State, counter: str, problem: Problem | None = None) -> Outcome:
    """The row's state without a call; what was delivered stays, unless a write without an answer may have changed it."""
    link = row.link
    doubt = bool(link and link.state == State.UNCERTAIN)
    return Outcome(
        row.key,
        link.revision if link else 0,
        state,
        remote_id=link.remote_id if link else None,
        delivered=link.delivered if link and not doubt else {},
        associations=link.associations if link else {},
        source_hash=row.hash,
        refused_digest=link.refused_digest if link else "",
        problem=problem,
        counter="" if link and link.seen else counter,
        waiting=state == State.WAITING and not (link and link.seen),
        uncertain_op=Op.CREATE.value if _perhaps_created(link) else "",
    )


def _perhaps_created(link: LinkState | None) -> bool:
    """A creation without an answer stays in doubt until a remote record is found for it, or a person decides."""
    return bool(link and link.uncertain_op == Op.CREATE and not link.remote_id)


def _invalid(row: Row, mapped: Mapped) -> Outcome:
    first = mapped.problems[0]
    more = f" ({len(mapped.problems) - 1} more problems in this record)" if len(mapped.problems) > 1 else ""
    problem = Problem(first.code.value, first.message + more, property=first.target, group=f"{first.rule}")
    return note(row, State.REJECTED, "rejected", problem)


def needs_match(policy: Policy, row: Row, mapped: Mapped) -> bool:
    """Not linked, or to be created again: somebody may have put another record in its place."""
    if not mapped.included or mapped.problems:
        return False
    link = row.link
    return not (link and link.remote_id) or (link.state == State.GONE and policy.gone_policy == "recreate")


def _linked(policy: Policy, row: Row, link: LinkState, mapped: Mapped, references: References, match: Match) -> Verdict:
    if link.state == State.GONE and policy.gone_policy == "recreate":
        return _unlinked(policy, row, mapped, references, match)
    if link.state in (State.GONE, State.MERGED):
        return _lost_before(policy, row, link)
    doubt = link.state == State.UNCERTAIN
    if policy.mode == "create" and not doubt:
        return note(row, final_state(references), "unchanged", waiting_problem(references))
    delivered = None if doubt else link.delivered
    write = plan_write(policy.mapping, mapped, delivered, creating=False, remote=None)
    if refused_before(policy, row, digest(write.settled)):
        return _still_refused(row)
    first = link.state == State.PENDING and not link.delivered  # linked by hand, or taken over from a merged record
    work = Work(
        row,
        mapped,
        Op.UPDATE,
        link.revision,
        link.remote_id,
        write,
        references,
        delivered,
        link.associations,
        adopting=first,
        again=doubt,
    )
    return work if write.properties or write.needs_remote else _nothing_to_write(work, link)


def _nothing_to_write(work: Work, link: LinkState) -> Verdict:
    if associations(work.references, link.associations):
        # a record that this run stored before it was interrupted has been counted already
        return replace(work, op=Op.ASSOCIATE, counter="" if link.seen else "updated")
    problem = waiting_problem(work.references) or held_problem(work.mapped)
    settled = note(work.row, final_state(work.references), "unchanged", problem)
    return replace(settled, delivered=work.write.settled, source_hash=None if work.mapped.held else settled.source_hash)


def refused_before(policy: Policy, row: Row, now: str) -> bool:
    link = row.link
    if link is None or link.state != State.REJECTED or not link.refused_digest:
        return False
    return link.refused_digest == now and not link.stale and not policy.force


def _still_refused(row: Row) -> Outcome:
    link = row.link
    code, reason = (link.code, link.reason) if link else ("", "")
    return note(row, State.REJECTED, "rejected", Problem(code, reason, group=code))


def _lost_before(policy: Policy, row: Row, link: LinkState) -> Outcome:
    if link.state == State.MERGED:
        reason = f"Remote record {link.remote_id} was merged into another record's; decide which record it is."
        return note(row, State.MERGED, "gone", Problem("merged", reason))
    problem = Problem("gone", f"Remote record {link.remote_id} was deleted. Its sync says to leave it so.")
    if policy.gone_policy == "review":
        return note(row, State.AMBIGUOUS, "ambiguous", replace(problem, reason=f"Remote record {link.remote_id} was deleted."))
    return note(row, State.GONE, "gone", problem)


def _unlinked(policy: Policy, row: Row, mapped: Mapped, references: References, match: Match) -> Verdict:
    if _keyed_doubt(policy, row) and not match.own:
        return _creation(policy, row, mapped, references)  # by our own key: whatever matches by now, it was sent
    if match.code:
        return note(row, State.AMBIGUOUS, "ambiguous", Problem(match.code, match.reason, group=match.code))
    if match.remote_id is None:
        return _creation(policy, row, mapped, references)
    ours = bool(row.link and row.link.state == State.UNCERTAIN)  # it may well be what we sent
    if policy.mode == "create" and not ours:
        return note(row, State.EXCLUDED, "excluded", Problem("exists", f"It exists already as {match.remote_id}."))
    found = adoption(policy, row, mapped, references, match)
    return replace(found, counter="created") if ours and match.own else found


def _keyed_doubt(policy: Policy, row: Row) -> bool:
    link = row.link
    sent = bool(link and link.state == State.UNCERTAIN and link.uncertain_op == Op.UPSERT)
    if link and link.refused_digest.startswith(MATCHED_JOB):  # an import that matches by itself may have found another one
        return False
    return sent and bool(policy.object_type.unique_key) and policy.mode != "update"


def adoption(policy: Policy, row: Row, mapped: Mapped, references: References, match: Match) -> Work:
    """An existing remote record becomes ours: all mapped properties are written by id."""
    write = plan_write(policy.mapping, mapped, None, creating=False, remote=None)
    revision = row.link.revision if row.link else 0
    return Work(row, mapped, Op.UPDATE, revision, match.remote_id, write, references, None, {}, adopting=True, keyed=match.keyed)


def _creation(policy: Policy, row: Row, mapped: Mapped, references: References) -> Verdict:
    if policy.mode == "update":
        return note(
            row, State.EXCLUDED, "excluded", Problem("not_there", "It is not in the account, and this sync only updates.")
        )
    link = row.link
    op = Op.UPSERT if policy.object_type.unique_key else Op.CREATE
    if op is Op.CREATE and link and _perhaps_created(link):
        wait = policy.object_type.visibility_lag - link.uncertain_seconds
        if wait > 0:
            return Deferred(row.key, wait)
        identity = policy.identity(row)
        if not identity or identity != link.refused_digest:  # nothing could find it, or it was sent with other values
            return note(row, State.AMBIGUOUS, "ambiguous", Problem("unknown", UNTRACEABLE))
    write = plan_write(policy.mapping, mapped, None, creating=True, remote=None)
    if refused_before(policy, row, digest(write.settled)):
        return _still_refused(row)
    again = bool(link and link.state == State.UNCERTAIN) or _perhaps_created(link)
    return Work(row, mapped, op, link.revision if link else 0, None, write, references, None, {}, again=again)
