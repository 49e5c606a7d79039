"""A plan: read, map, match and classify as a push does, then look at what is there instead of sending."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from syncline.contract import RemoteRecord, Session
from syncline.ledger.models import Link
from syncline.ledger.records import Fence, Outcome, Problem, Scope
from syncline.registry.facade import Connector
from syncline.runs import crash
from syncline.runs.job import Job
from syncline.runs.push.classify import note
from syncline.runs.push.deciding import Deciding
from syncline.runs.push.lookup import owners
from syncline.runs.push.pipeline import Pipeline
from syncline.runs.push.reader import Row
from syncline.runs.push.steps import carry_out, listed, ranged
from syncline.runs.push.work import Deferred, Policy, Sent, Verdict, Work

from . import store
from .rows import asked, planned, without_call

UNANSWERED: Final = (
    "It was sent once without an answer; whether it arrived is certain only after a while. Plan again then, or run the sync."
)


def plan_range(job: Job) -> None:
    carry_out(job, _pipeline(job), ranged(job))


def plan_keys(job: Job) -> None:
    carry_out(job, _pipeline(job), listed(job))


def _pipeline(job: Job) -> Pipeline:
    policy = job.policy()
    planner = Planner(job.connector, job.session, policy, job.scope, job.claim.fence)
    decide = Deciding(policy, job.scope, job.run.pk, job.source.dataset, release=lambda _keys: None)
    return job.pipeline_of(policy, planner, lambda rows: _at_once(decide, rows), planner.settle)


def _at_once(decide: Callable[[Sequence[Row]], Iterator[Verdict]], rows: Sequence[Row]) -> Iterator[Verdict]:
    """A plan does not wait until an account shows what may have been created: it says so."""
    by_key = {row.key: row for row in rows}
    for verdict in decide(rows):
        if isinstance(verdict, Deferred) and verdict.after > 0:
            yield note(by_key[verdict.key], Link.State.AMBIGUOUS, "ambiguous", Problem("uncertain", UNANSWERED))
        else:
            yield verdict


@dataclass(frozen=True)
class Planner:
    """Takes the sender's place. Used from several threads; holds no state of its own."""

    connector: Connector
    session: Session
    policy: Policy
    scope: Scope
    fence: Fence

    def send(self, batch: Sequence[Work]) -> Sent:
        there = fetched(self.connector, self.session, self.policy, [w.remote_id for w in batch if w.remote_id])
        moved = {found.id for asked_for, found in there.items() if found.id != asked_for}
        owner = owners(self.scope, sorted(moved)) if moved else {}
        rows = []
        for work in batch:
            found = there.get(work.remote_id or "")
            rows.append(planned(self.policy, work, found, owner.get(found.id, "") if found else ""))
        crash.point("record.before")
        store.save(self.fence, rows)
        crash.point("record.after")
        return Sent()

    def settle(self, outcomes: Sequence[Outcome]) -> Collection[str]:
        store.save(self.fence, [without_call(outcome) for outcome in outcomes])
        return {outcome.local_key for outcome in outcomes}


def fetched(connector: Connector, session: Session, policy: Policy, ids: Sequence[str]) -> dict[str, RemoteRecord]:
    """The records that answer to these ids, with the mapped properties."""
    if not ids:
        return {}
    found = connector.call.fetch(
        session=session, object_type=policy.object_type, ids=ids, properties=asked(policy), associations=(), history=()
    )
    return dict(found)
