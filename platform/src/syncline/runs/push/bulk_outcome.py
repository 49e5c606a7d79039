"""What one result of a bulk job means for the link: pure.

Between handing in and the result the record may have changed here; its link remembers what was sent.
"""

from __future__ import annotations

from dataclasses import replace

from syncline.contract import BulkResult, Code, Op, PushResult, Status
from syncline.ledger.bulk import Carried
from syncline.ledger.models import Link
from syncline.ledger.records import Outcome
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.diff import plan_write

from .reader import Row
from .results import outcome
from .work import Policy, References, Work

State = Link.State
ALONE = References({}, {})
WRITTEN = frozenset({Status.CREATED, Status.UPDATED, Status.UNCHANGED})


def carried_outcome(policy: Policy, carried: Carried, row: Row | None, result: BulkResult) -> Outcome:
    """`row`: the record as it is now, None when it has left the sync."""
    if row is None or row.hash != carried.source_hash:
        return _changed_since(carried, result)
    mapped = policy.mapping.map(row.values)
    write = plan_write(policy.mapping, mapped, None, creating=True, remote=None)
    work = Work(row, mapped, Op.UPSERT, carried.revision, None, write, ALONE, None, {}, counted=carried.seen)
    told = PushResult(carried.local_key, result.status, result.remote_id, result.error)
    found = outcome(policy, work, told, None, "").outcome
    return _delivered(found, mapped, result) if result.status in WRITTEN else _refused(found, result)


def _changed_since(carried: Carried, result: BulkResult) -> Outcome:
    """Linked with what was sent; the run's next pass sends what changed. A refusal of old values says nothing about new ones."""
    written = result.status in WRITTEN
    counter = {Status.CREATED: "created", Status.UPDATED: "adopted"}.get(result.status, "")
    return Outcome(
        carried.local_key,
        carried.revision,
        State.PENDING,
        remote_id=result.remote_id,
        delivered=carried.settled if written else {},
        op=Op.UPSERT,
        status=result.status,
        counter="" if carried.seen else counter,
    )


def _delivered(found: Outcome, mapped: Mapped, result: BulkResult) -> Outcome:
    """A job writes no associations, and clears nothing in records that it found there: the next pass does."""
    left = {name for name, value in mapped.properties.items() if value is None} if result.status is Status.UPDATED else set()
    settled = {name: print_ for name, print_ in found.delivered.items() if name not in left}
    if settled == found.delivered and not any(mapped.references.values()):
        return found
    return replace(found, state=State.PENDING, source_hash=None, delivered=settled)


def _refused(found: Outcome, result: BulkResult) -> Outcome:
    """One that is there without the refused value is linked; one that could be several is for a person to decide."""
    if result.error and result.error.code is Code.SEVERAL:
        return replace(found, state=State.AMBIGUOUS, counter=found.counter and "ambiguous", refused_digest="")
    return replace(found, remote_id=result.remote_id)
