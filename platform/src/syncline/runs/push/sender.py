"""Sends one batch and records what became of it: mark, call, split where refused, resolve, store."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import IntegrityError

from syncline.contract import (
    AuthError,
    Change,
    Code,
    ConfigError,
    ConnectorFault,
    Op,
    OutcomeUnknown,
    Permanent,
    PushResult,
    RecordError,
    RecordRejected,
    RemoteRecord,
    Retryable,
    Session,
    Status,
    SynclineError,
    UnsupportedFeature,
    Value,
)
from syncline.ledger import writer
from syncline.ledger.models import Link
from syncline.ledger.records import Fence, Mark, Outcome, Problem, Scope
from syncline.registry.facade import Connector
from syncline.runs import crash
from syncline.syncs.engine.content import Owner
from syncline.syncs.engine.diff import Before, plan_write
from syncline.syncs.engine.threeway import UNSURE, dated, moments

from .definitions import Definitions
from .lookup import owners
from .results import outcome, postponed
from .work import Deferred, Policy, Sent, Work, associations

RESENDABLE = frozenset({Op.UPDATE, Op.UPSERT, Op.ASSOCIATE, Op.ARCHIVE, Op.DELETE})
PAUSES = (1.0, 3.0)
WRITTEN = frozenset({Status.CREATED, Status.UPDATED, Status.UNKNOWN})
UNDONE = (Retryable, AuthError, ConfigError, UnsupportedFeature)


@dataclass(frozen=True)
class Sender:
    """Used from several threads; holds no state of its own.

    `store`: takes the place of the ledger's writer, and ends in it. `changed_here`: when records of ours were changed last.
    """

    connector: Connector
    session: Session
    policy: Policy
    scope: Scope
    fence: Fence
    definitions: Definitions | None = None
    store: Callable[[Scope, Fence, Sequence[Outcome]], frozenset[str]] | None = None
    changed_here: Callable[[Sequence[str]], Mapping[str, dt.datetime]] | None = None

    def keep(self, outcomes: list[Outcome]) -> None:
        """What was learnt in another way than by a batch."""
        self._record(outcomes, Sent())

    def send(self, batch: Sequence[Work]) -> Sent:
        """Whatever happens to the batch, the ledger says so before this returns or raises."""
        if self._outdated():
            return Sent(deferred=[Deferred(w.key, 0.0) for w in batch])
        sent = Sent()
        ready = self._completed(batch, sent)
        marked = self._mark(ready, sent)
        if not marked:
            return sent
        try:
            failure = self._carry_out(marked, sent)
        except writer.FenceLost:
            self._doubt(marked)
            raise
        if failure:
            raise failure
        return sent

    def _carry_out(self, marked: Sequence[Work], sent: Sent) -> SynclineError | None:
        results: dict[str, PushResult] = {}
        failure = self._push_guarded(marked, results)
        crash.point("associate.after" if marked[0].op is Op.ASSOCIATE else "call.after")
        self._store([w for w in marked if w.key in results], results, sent)
        return failure

    def _doubt(self, marked: Sequence[Work]) -> None:
        if marked[0].op is not Op.ASSOCIATE:
            writer.doubt(self.scope, [Mark(w.key, w.revision - 1, w.op, w.remote_id) for w in marked])

    def _push_guarded(self, batch: Sequence[Work], results: dict[str, PushResult]) -> SynclineError | None:
        """Fills `results`; what has none when the call failed was either certainly not sent, or nobody knows."""
        try:
            self._push(batch, results)
        except writer.FenceLost:
            raise
        except UNDONE as error:
            return self._rest(batch, results, Status.NOT_SENT, error)
        except SynclineError as error:
            return self._rest(batch, results, Status.UNKNOWN, error)
        return None

    def _rest(self, batch: Sequence[Work], results: dict[str, PushResult], status: Status, error: SynclineError) -> SynclineError:
        for work in batch:
            results.setdefault(work.key, PushResult(work.key, status))
        return error

    def _completed(self, batch: Sequence[Work], sent: Sent) -> list[Work]:
        """Write modes that depend on what is there, and fields that were suspended, need the current values first."""
        if "fetch" not in self.connector.implements:
            batch = [self._unseen(w) for w in batch]
        asking = [w for w in batch if w.write.needs_remote and w.remote_id]
        if not asking:
            return self._without_idle(list(batch), sent)
        names = sorted({n for w in asking for n in w.write.needs_remote})
        current = self.connector.call.fetch(
            session=self.session,
            object_type=self.policy.object_type,
            ids=[w.remote_id for w in asking if w.remote_id],
            properties=names,
            associations=(),
            history=dated(self.policy.mapping.owners, names, self.policy.object_type),
        )
        if lost := [w for w in asking if w.remote_id not in current and self._shares(w)]:
            gone = RecordError(Code.NOT_FOUND, "There is no such record.")
            self._store(lost, {w.key: PushResult(w.key, Status.REJECTED, w.remote_id, gone) for w in lost}, sent)
        changed = self._changed_here(asking)
        ready: list[Work] = []
        for work in (w for w in batch if w not in lost):
            there = current.get(work.remote_id or "") if work.write.needs_remote else None
            if there is not None:
                before = self._before(work, there, changed)
                write = plan_write(
                    self.policy.mapping, work.mapped, work.delivered, creating=False, remote=there.properties, before=before
                )
                work = replace(work, write=write)  # noqa: PLW2901
            elif work.write.needs_remote:
                work = replace(work, write=replace(work.write, needs_remote=frozenset()))  # noqa: PLW2901
            ready.append(work)
        return self._without_idle(ready, sent)

    def _shares(self, work: Work) -> bool:
        """Whether something of it is sent only after a look at what they have."""
        return not work.write.needs_remote.isdisjoint(self.policy.mapping.owners)

    def _before(self, work: Work, there: RemoteRecord, changed: Mapping[str, dt.datetime]) -> Before:
        """What both sides were when they last agreed, and when each was changed last."""
        seen = work.row.link.seen_there if work.row.link else {}
        return Before(seen, moments(there, changed.get(work.key)))

    def _changed_here(self, works: Sequence[Work]) -> Mapping[str, dt.datetime]:
        decides = Owner.NEWEST in self.policy.mapping.owners.values()
        return self.changed_here([w.key for w in works]) if decides and self.changed_here else {}

    def _unseen(self, work: Work) -> Work:
        """Nobody can say what is there: what was suspended is written again."""
        if UNSURE not in (work.delivered or {}).values():
            return work
        known = {name: print_ for name, print_ in (work.delivered or {}).items() if print_ != UNSURE}
        return replace(work, write=plan_write(self.policy.mapping, work.mapped, known, creating=False, remote=None))

    def _without_idle(self, ready: list[Work], sent: Sent) -> list[Work]:
        idle = [w for w in ready if not self._properties(w) and w.op is Op.UPDATE]
        if idle:
            results = {w.key: PushResult(w.key, Status.UNCHANGED, w.remote_id) for w in idle}
            self._store(idle, results, sent)
        return [w for w in ready if w not in idle]

    def _mark(self, batch: Sequence[Work], sent: Sent) -> list[Work]:
        if not batch or batch[0].op is Op.ASSOCIATE:
            return list(batch)
        crash.point("mark.before")
        marks = [
            Mark(w.key, w.revision, w.op, w.remote_id, self.policy.identity(w.row) if w.op is Op.CREATE else "") for w in batch
        ]
        try:
            kept = writer.mark(self.scope, self.fence, marks)
        except IntegrityError:
            return self._mark(self._without_taken(batch, sent), sent)
        crash.point("mark.after")
        sent.deferred += [Deferred(w.key, 0.0) for w in batch if w.key not in kept]
        return [replace(w, revision=w.revision + 1) for w in batch if w.key in kept]

    def _without_taken(self, batch: Sequence[Work], sent: Sent) -> list[Work]:
        """Remote records that another local record is linked to, or that two of the batch claim."""
        taken = owners(self.scope, [w.remote_id for w in batch if w.remote_id])
        kept: list[Work] = []
        clashes: list[Outcome] = []
        for work in batch:
            owner = taken.get(work.remote_id or "")
            if owner and owner != self._me(work.key):
                clashes.append(_clash(work, owner))
            else:
                if work.remote_id:
                    taken[work.remote_id] = self._me(work.key)
                kept.append(work)
        if not clashes:
            raise ConnectorFault("A remote record is claimed twice, but no other link to it was found.")
        self._record(clashes, sent)
        return kept

    def _push(self, batch: Sequence[Work], results: dict[str, PushResult]) -> None:
        """A verdict for each record: a batch refused as a whole is split until each has its own."""
        if self._outdated():
            results.update({w.key: PushResult(w.key, Status.NOT_SENT) for w in batch})
            return
        try:
            answered = self._answered(batch, self._call(batch))
            results.update(answered)
            self._explain(answered.values())
        except RecordRejected as error:
            self._without_rejected(batch, error, results)
        except Permanent as error:
            if len(batch) == 1:
                results[batch[0].key] = _rejected(batch[0], str(error))
                return
            middle = len(batch) // 2
            self._push(batch[:middle], results)
            self._push(batch[middle:], results)

    def _without_rejected(self, batch: Sequence[Work], error: RecordRejected, results: dict[str, PushResult]) -> None:
        guilty = [w for w in batch if w.key == error.key]
        if not guilty:
            raise ConnectorFault(f"{self.connector.key}.push refused a record that was not in the batch.") from error
        refused = {w.key: _rejected(w, str(error), error.code, error.property) for w in guilty}
        results.update(refused)
        self._explain(refused.values())
        if rest := [w for w in batch if w.key != error.key]:
            self._push(rest, results)

    def _outdated(self) -> bool:
        """The account's definitions changed: what was mapped by the old ones is read and mapped again."""
        return self.definitions is not None and self.definitions.moved

    def _explain(self, results: Iterable[PushResult]) -> None:
        if self.definitions is not None:
            self.definitions.explain(results)

    def _call(self, batch: Sequence[Work]) -> Sequence[PushResult]:
        changes = [self._change(w) for w in batch]
        for number, pause in enumerate((*PAUSES, None)):
            try:
                told = self.connector.call.push(session=self.session, object_type=self.policy.object_type, changes=changes)
                return _repeated(told) if number and batch[0].op is Op.UPSERT else told
            except OutcomeUnknown:
                if pause is None or batch[0].op not in RESENDABLE:
                    return [PushResult(w.key, Status.UNKNOWN) for w in batch]
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _answered(self, batch: Sequence[Work], results: Sequence[PushResult]) -> dict[str, PushResult]:
        found = {r.local_key: r for r in results}
        return {w.key: found.get(w.key) or PushResult(w.key, Status.UNKNOWN) for w in batch}

    def _change(self, work: Work) -> Change:
        linked = associations(work.references, work.have) if work.op is Op.ASSOCIATE else ()
        unique = self.policy.unique_value(work.key) if work.op is Op.UPSERT else None
        properties = {} if work.op is Op.ASSOCIATE else self._properties(work)
        return Change(work.key, work.op, work.remote_id, unique, properties, linked)

    def _properties(self, work: Work) -> dict[str, Value]:
        properties: dict[str, Value] = dict(work.write.properties)
        if work.adopting and work.keyed and self.policy.object_type.unique_key:
            properties[self.policy.object_type.unique_key] = self.policy.unique_value(work.key)
        return properties

    def _store(self, batch: Sequence[Work], results: dict[str, PushResult], sent: Sent) -> None:
        outcomes: list[Outcome] = []
        lost = [w for w in batch if _code(results[w.key]) is Code.NOT_FOUND and w.remote_id]
        survivors = self._survivors(lost)
        existing = {e.existing_id for r in results.values() if (e := r.error) and e.existing_id}
        owner = owners(self.scope, sorted(existing)) if existing else {}
        for work in batch:
            result = results[work.key]
            there = result.error.existing_id if result.error else None
            if self.definitions is not None and self.definitions.postpones(result):
                verdict = postponed(work, result.error)
            else:
                verdict = outcome(self.policy, work, result, survivors.get(work.key), owner.get(there or "", ""))
            outcomes.append(verdict.outcome)
            sent.follow_ups += [verdict.follow_up] if verdict.follow_up else []
            sent.deferred += [verdict.deferred] if verdict.deferred else []
        self._record(outcomes, sent)

    def _survivors(self, lost: Sequence[Work]) -> dict[str, tuple[str, str]]:
        """Local key → (remote id that answers for it now, who that is linked to); gone ones are left out."""
        if not lost:
            return {}
        found = self.connector.call.fetch(
            session=self.session,
            object_type=self.policy.object_type,
            ids=[w.remote_id for w in lost if w.remote_id],
            properties=[],
            associations=(),
            history=(),
        )
        owner = owners(self.scope, [r.id for r in found.values()])
        survivors: dict[str, tuple[str, str]] = {}
        for work in lost:
            if record := found.get(work.remote_id or ""):
                survivors[work.key] = (record.id, owner.get(record.id, ""))
                owner.setdefault(record.id, self._me(work.key))  # two of the batch may have been merged into one
        return survivors

    def _me(self, key: str) -> str:
        return f"{self.scope.dataset} {key}"

    def _record(self, outcomes: list[Outcome], sent: Sent) -> None:
        if not outcomes:
            return
        crash.point("record.before")
        store = self.store or writer.record
        try:
            stored = store(self.scope, self.fence, outcomes)
        except IntegrityError:
            tangled, outcomes = outcomes, self._untangled(outcomes, {w.key for w in sent.follow_ups if not w.counted})
            stored = store(self.scope, self.fence, outcomes)
            settled = {new.local_key for old, new in zip(tangled, outcomes, strict=True) if old is not new}
            sent.drop(settled)
        crash.point("record.after")
        changed = {o.local_key for o in outcomes} - stored
        if written := [o for o in outcomes if o.local_key in changed and o.status in WRITTEN and o.op is not Op.ASSOCIATE]:
            # somebody else wrote meanwhile, and nobody knows whose values arrived last
            writer.doubt(self.scope, [Mark(o.local_key, o.revision - 1, o.op or Op.UPDATE, o.remote_id) for o in written])
        sent.drop(changed)
        sent.deferred += [Deferred(key, 0.0) for key in sorted(changed)]

    def _untangled(self, outcomes: Sequence[Outcome], uncounted: Collection[str]) -> list[Outcome]:
        """A remote id that the vendor gave to two of our records can be linked to one only."""
        taken = owners(self.scope, [o.remote_id for o in outcomes if o.remote_id])
        result: list[Outcome] = []
        for one in outcomes:
            me = self._me(one.local_key)
            owner = taken.get(one.remote_id or "", me)
            if one.remote_id and owner == me:
                taken[one.remote_id] = me
            result.append(one if owner == me else _doubled(one, owner, bool(one.counter) or one.local_key in uncounted))
        return result


def _repeated(told: Sequence[PushResult]) -> list[PushResult]:
    """What a repeated upsert finds there is what the first one made."""
    return [replace(r, status=Status.CREATED) if r.status is Status.UPDATED else r for r in told]


def _code(result: PushResult) -> Code | None:
    return result.error.code if result.error else None


def _rejected(work: Work, message: str, code: Code = Code.OTHER, name: str | None = None) -> PushResult:
    return PushResult(work.key, Status.REJECTED, error=RecordError(code, message, name))


def _clash(work: Work, owner: str) -> Outcome:
    link = work.row.link
    return Outcome(
        work.key,
        work.revision,
        Link.State.AMBIGUOUS,
        remote_id=link.remote_id if link else None,
        delivered=link.delivered if link else {},
        source_hash=work.row.hash,
        problem=Problem(
            "linked_to_other",
            f"Remote record {work.remote_id} is linked to our record {owner} already. Correct one of the two, or move the link.",
            group="linked_to_other",
        ),
        counter="" if work.counted else "ambiguous",
    )


def _doubled(one: Outcome, owner: str, counts: bool) -> Outcome:
    if one.survivor and one.survivor == one.remote_id:  # another batch was a moment faster with what both were merged into
        reason = f"Remote record {one.vanished} was merged into {one.survivor}, which is linked to our record {owner}."
        merged = Problem("merged", f"{reason} Merge or correct our two records.", group="merged")
        counter = "gone" if counts else ""
        return replace(one, state=Link.State.MERGED, remote_id=one.vanished, problem=merged, counter=counter, identities=())
    problem = Problem(
        "linked_to_other",
        f"The system answered with remote record {one.remote_id}, which is linked to our record {owner}. Decide which one it is.",
        group="linked_to_other",
    )
    return replace(
        one,
        state=Link.State.AMBIGUOUS,
        remote_id=None,
        delivered={},
        problem=problem,
        counter="ambiguous" if counts else "",
        identities=(),
    )
