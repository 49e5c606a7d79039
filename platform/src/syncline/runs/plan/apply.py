"""Applies a plan: exactly the planned values of exactly the planned fields, and only to records that are still as they were.

Whether a record still stands is asked right before its batch is sent. What this application itself wrote before it was
interrupted is no change: there, every planned property has its planned value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from django.db import connection, transaction

from syncline import background
from syncline.contract import Op, Property, RemoteRecord, Status, Value
from syncline.ledger import writer
from syncline.ledger.models import Link
from syncline.ledger.records import Fence, Outcome, Scope
from syncline.runs import claims, crash
from syncline.runs.job import Job
from syncline.runs.models import PlanRow, Run, RunPart
from syncline.runs.push import prepare as preparation
from syncline.runs.push.classify import classify
from syncline.runs.push.deciding import Deciding
from syncline.runs.push.matching import CREATE, Match
from syncline.runs.push.reader import Chunk, LinkState, Row
from syncline.runs.push.sender import Sender
from syncline.runs.push.steps import carry_out, date_doubts
from syncline.runs.push.work import Deferred, References, Sent, Verdict, Work
from syncline.runs.queue import QUEUE
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.diff import Write

from . import rereading, store
from .plan import fetched
from .rereading import Found
from .standing import LEFT, in_doubt, link_moved, match_moved, remote_moved, values_of
from .store import Told

State = PlanRow.State
WRITTEN = (Status.CREATED, Status.UPDATED, Status.UNCHANGED)
UNDER_WAY = "The remote record changed while this was being written. Plan again."


def prepare(job: Job) -> None:
    """Who is who by now: a record that is to be created may have come into the account in another way."""
    preparation.prepare(job.identifying(), job.alive)
    crash.point("prepare.done")
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=job.run.pk)  # first, as whoever cancels: both take several parts
        job.run.parts.filter(kind=RunPart.Kind.PLANNED, state=RunPart.State.BLOCKED).update(state=RunPart.State.QUEUED)
        if not claims.finish(job.claim.fence):
            raise writer.FenceLost
    background.ring(QUEUE)


def apply_rows(job: Job) -> None:
    part = job.part
    _apply(job, rereading.by_id(job.source, job.run.plan_id, part.cursor or part.after_key, part.until_key))


def apply_keys(job: Job) -> None:
    """Records that were put off, with their match values as they are now."""
    keys = job.part.keys
    preparation.look_up(job.identifying(), keys, job.alive)
    _apply(job, rereading.by_key(job.source, job.run.plan_id, keys, int(job.part.cursor or 0)))


def _apply(job: Job, found: Iterable[Found]) -> None:
    date_doubts(job)
    applying = Applying(job)
    pipeline = job.pipeline_of(applying.policy, applying, applying.decide, partial(applying.record, job.scope, job.claim.fence))
    carry_out(job, replace(pipeline, counts_read=False), applying.chunks(found))


@dataclass(frozen=True, slots=True)
class _Held:
    """A row that is being applied. `doubt`: it may have been sent already."""

    row: PlanRow
    values: dict[str, Value]
    doubt: bool


@dataclass
class Applying:
    """Decides, sends and records the rows of one part. `held` has only those that are on their way."""

    job: Job
    held: dict[str, _Held] = field(default_factory=dict)
    planned: dict[str, PlanRow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job = self.job
        self.fence = job.claim.fence
        self.policy = replace(job.policy(), force=True)
        release = partial(writer.release, job.scope, self.fence)
        self.deciding = Deciding(self.policy, job.scope, job.run.pk, job.source.dataset, release)
        self.sender = Sender(job.connector, job.session, self.policy, job.scope, self.fence, job.definitions, self.record)
        own = job.object_type.unique_key
        self.own_key = own or ""
        self.properties = {name: rule.prop for name, rule in job.mapping.rules.items()}
        self.properties |= {own: Property(own, own)} if own else {}

    def chunks(self, found: Iterable[Found]) -> Iterator[Chunk]:
        """As the pipeline takes them; what is not here any more is refused at once."""
        for some in found:
            here = {row.key for row in some.rows}
            self._refuse([(row, LEFT) for row in some.planned if row.local_key not in here])
            self.planned = {row.local_key: row for row in some.planned}
            yield Chunk(some.rows, Counter(), len(some.planned), some.last)

    # deciding

    def decide(self, rows: Sequence[Row]) -> Iterator[Verdict]:
        unlinked = {row.key: row for row in rows if not (row.link and row.link.remote_id)}
        matches = self.deciding.matches(list(unlinked.values()))
        refused: list[tuple[PlanRow, str]] = []
        for row in rows:
            planned, match = self.planned[row.key], matches.get(row.key)
            if row.key in unlinked and match is None:
                yield Deferred(row.key, 0.0)
                continue
            verdict = self._verdict(row, planned, match or CREATE)
            if isinstance(verdict, str):
                refused.append((planned, verdict))
            else:
                yield verdict
        self._refuse(refused)

    def _verdict(self, row: Row, planned: PlanRow, match: Match) -> Verdict | str:
        """What is to be done, or why it is stale."""
        link, values = row.link, values_of(planned, self.properties)
        if moved := link_moved(planned, link):
            return moved
        if not self.policy.mapping.map(row.values).included:
            return LEFT
        if isinstance(values, str):
            return values
        doubt = in_doubt(planned, link)
        linked = bool(link and link.remote_id)
        if not linked and not doubt and (moved := match_moved(planned, match) or self._identity_moved(row, planned)):
            return moved
        self.held[row.key] = _Held(planned, values, doubt)
        write = Write(self._written(values), {name: after for name, (_, after) in planned.prints.items() if after is not None})
        if planned.remote_id is None:
            return self._creation(row, planned, write, match, doubt)
        return self._update(row, planned, write, doubt)

    def _written(self, values: dict[str, Value]) -> dict[str, Value]:
        """Without our own key, which the sender adds where it belongs."""
        return {name: value for name, value in values.items() if name != self.own_key or name in self.policy.mapping.rules}

    def _identity_moved(self, row: Row, planned: PlanRow) -> str:
        """Who is created or adopted was looked up by its values as they are now: they must be those of the plan."""
        now = {**dict.fromkeys(self.policy.mapping.rules), **self.policy.mapping.map(row.values).properties}
        names = {step.property for step in self.policy.rule.steps}
        for name in sorted(names):
            then = planned.prints.get(name, [None, None])[1]
            if then is not None and fingerprint(now.get(name)) != then:
                return f"Its {name} here is another one than in the plan, and it is found by that."
        return ""

    def _references(self, planned: PlanRow, link: LinkState | None) -> References:
        ids: dict[str, frozenset[str]] = {}
        missing: dict[str, tuple[str, ...]] = {}
        for object_type, one in planned.associations.items():
            held = set(link.associations.get(object_type, ())) if link else set()
            ids[object_type] = frozenset((held - set(one["remove"])) | set(one["add"]))
            missing[object_type] = tuple(one["missing"])
        return References(ids, missing)

    def _creation(self, row: Row, planned: PlanRow, write: Write, match: Match, doubt: bool) -> Verdict:
        references = self._references(planned, row.link)
        verdict = classify(self.policy, row, Mapped(dict(write.properties)), references, match)
        if isinstance(verdict, Work):
            return replace(verdict, write=write, counter="created" if doubt and verdict.remote_id else verdict.counter)
        return verdict

    def _update(self, row: Row, planned: PlanRow, write: Write, doubt: bool) -> Work:
        link, adopting = row.link, planned.action == PlanRow.Action.ADOPT
        created = planned.action == PlanRow.Action.CREATE  # by this application, before it was interrupted
        references = self._references(planned, link)
        silent = created or (not planned.changes and not adopting)
        return Work(
            row,
            Mapped(dict(write.properties)),
            Op.ASSOCIATE if silent else Op.UPDATE,
            link.revision if link else 0,
            planned.remote_id,
            write,
            references,
            None if doubt or adopting or link is None else link.delivered,
            link.associations if link else {},
            adopting=adopting,
            keyed=self.own_key in planned.changes,
            again=doubt,
            counted=bool(link and link.seen),
            counter="updated" if silent and not created else "",
        )

    # sending

    def send(self, batch: Sequence[Work]) -> Sent:
        going, refused = self._standing(batch)
        self._refuse(refused)
        sent = self.sender.send(going) if going else Sent()
        sent.follow_ups = [work for work in sent.follow_ups if work.op is Op.ASSOCIATE and work.key in self.held]
        sent.deferred = [deferred for deferred in sent.deferred if deferred.key in self.held]
        for deferred in sent.deferred:
            self.held.pop(deferred.key)
        return sent

    def _standing(self, batch: Sequence[Work]) -> tuple[list[Work], list[tuple[PlanRow, str]]]:
        """Which records may be written, each with what is left to write; and which not, and why."""
        asked = {work.key: work.remote_id for work in batch if work.remote_id and self._is_compared(work)}
        there = fetched(self.job.connector, self.job.session, self.policy, list(asked.values()))
        going, refused = [], []
        for work in batch:
            held, found = self.held[work.key], there.get(work.remote_id or "")
            if work.key not in asked:
                going.append(work)
            elif moved := remote_moved(held.row, found, held.values):
                self.held.pop(work.key)
                refused.append((held.row, moved))
            else:
                going.append(self._left(work, found))
        return going, refused

    def _is_compared(self, work: Work) -> bool:
        """Not what is created, nor what this application has just written itself."""
        created = self.held[work.key].row.action == PlanRow.Action.CREATE
        return not created and work.revision == (work.row.link.revision if work.row.link else 0)

    def _left(self, work: Work, there: RemoteRecord | None) -> Work:
        values = there.properties if there else {}
        left = {name: v for name, v in work.write.properties.items() if fingerprint(values.get(name)) != fingerprint(v)}
        keyed = work.keyed and fingerprint(values.get(self.own_key)) != fingerprint(self.policy.unique_value(work.key))
        return replace(work, write=replace(work.write, properties=left), keyed=keyed)

    # recording

    def record(self, scope: Scope, fence: Fence, outcomes: Sequence[Outcome]) -> frozenset[str]:
        """Stores what became of the records in the ledger and in the plan, both or neither."""
        told = [self._told(outcome) for outcome in outcomes]
        with transaction.atomic():
            stored = writer.record(scope, fence, [outcome for outcome, _ in told])
            kept = [one for outcome, one in told if outcome.local_key in stored]
            with connection.cursor() as cursor:
                settled = store.settle(cursor, kept)
                writer.advance(cursor, fence, Counter({"read": settled}), progress=bool(settled))
        for outcome, one in told:
            if outcome.local_key in stored and one.state != State.PLANNED:
                self.held.pop(outcome.local_key)
        return stored

    def _told(self, outcome: Outcome) -> tuple[Outcome, Told]:
        held = self.held[outcome.local_key]
        state, reason = _meaning(outcome)
        if state == State.STALE:
            outcome = replace(outcome, counter="stale")
        elif held.doubt and outcome.counter == "unchanged":
            outcome = replace(outcome, counter="updated")
        remote_id = outcome.remote_id if state == State.PLANNED and outcome.status in WRITTEN else held.row.remote_id
        return outcome, Told(held.row.pk, state, reason, outcome.revision + 1, remote_id)

    def _refuse(self, refused: Sequence[tuple[PlanRow, str]]) -> None:
        if not refused:
            return
        told = [Told(row.pk, State.STALE, reason, row.revision, row.remote_id) for row, reason in refused]
        with transaction.atomic(), connection.cursor() as cursor:
            number = store.settle(cursor, told)
            writer.advance(cursor, self.fence, Counter({"read": number, "stale": number}))


def _meaning(outcome: Outcome) -> tuple[PlanRow.State, str]:
    """Of an answer for the plan's row; PLANNED: something is left to do for it."""
    problem = outcome.problem.reason if outcome.problem else ""
    if outcome.status in WRITTEN:
        return (State.PLANNED, "") if outcome.state == Link.State.PENDING else (State.APPLIED, problem)
    if outcome.state == Link.State.REJECTED:
        return State.FAILED, problem
    if outcome.status is Status.REJECTED:
        return State.STALE, problem or UNDER_WAY
    if outcome.state in (Link.State.PENDING, Link.State.UNCERTAIN):
        return State.PLANNED, ""
    return State.STALE, problem or UNDER_WAY
