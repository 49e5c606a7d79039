"""Passes on the messages of one shard of a log dataset: mapped, pushed, and marked once the system has acknowledged them.

Who dies between the acknowledgement and the mark sends them again, with the same ids and sequences: whoever reads the log
leaves out what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from syncline.contract import Change, Message, Op, OutcomeUnknown, PushResult, Retryable, Status
from syncline.ledger import message_writer
from syncline.ledger.message_writer import Settled
from syncline.ledger.messages import Outgoing
from syncline.ledger.records import Problem
from syncline.runs import crash
from syncline.syncs.engine.compile import Mapped

from . import queueing
from .job import StreamJob

LOT: Final = 500
BYTES: Final = 4 * 1024 * 1024
"""As PostgreSQL keeps them, which may be less than what they take in memory: from so many on a lot has no more messages."""
IDLE: Final = 1.0
"""Seconds after which a shard is looked at even if nobody said that something is there."""

_WAITING = """
SELECT event_id, same FROM (
    SELECT event_id, same, sum(bytes) OVER (ORDER BY event_id) - bytes AS before FROM (
        SELECT o.event_id, o.same, CASE WHEN o.same THEN 0 ELSE coalesce(pg_column_size(e.data), 0) END AS bytes
        FROM (
            SELECT event_id, same FROM syncline_outgoing
            WHERE sync_id = %s AND shard = %s AND state = 'waiting' ORDER BY event_id LIMIT %s
        ) o LEFT JOIN syncline_inboxevent e ON e.id = o.event_id
    ) sized
) summed WHERE before < %s ORDER BY event_id
"""
_BEHIND = "SELECT count(*) FROM syncline_outgoing WHERE sync_id = %s AND shard = %s AND state = 'waiting'"
_ENVELOPE = ("kind", "object", "remote_id", "occurred_at", "received_at")


@dataclass(frozen=True, slots=True)
class Lot:
    """`rows`: by event id, of those that say something new and are still there; in order."""

    same: Sequence[int]
    missing: Sequence[int]
    rows: Mapping[int, Mapping[str, Any]]


def pass_on(job: StreamJob) -> None:
    """Until it is told to stop."""
    while not job.interrupted():
        job.wake.clear()
        lot = _next(job)
        number = len(lot.same) + len(lot.missing) + len(lot.rows)
        if number:
            _carry(job, lot)
        job.gauge.saw(number, None if number else 0)
        if not number:
            job.wake.wait(IDLE)


def behind(sync_id: int, shard: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, [sync_id, shard])
        return int(cursor.fetchone()[0])


def _next(job: StreamJob) -> Lot:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [job.sync.pk, int(job.part.partition), LOT, BYTES])
        waiting = cursor.fetchall()
    ids = [id_ for id_, same in waiting if not same]
    rows = _rows(job, ids) if ids else {}
    return Lot([id_ for id_, same in waiting if same], [id_ for id_ in ids if id_ not in rows], rows)


def _rows(job: StreamJob, ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    source, names = job.source.dataset, dict.fromkeys((*job.mapping.fields, *_ENVELOPE))
    found = source.rows(tuple(names), "", job.source.owner).filter(pk__in=ids).order_by("pk").values("pk", *names)
    return {row.pop("pk"): row for row in found}


def _carry(job: StreamJob, lot: Lot) -> None:
    settled = [Settled(id_, Outgoing.State.UNCHANGED) for id_ in lot.same]
    settled += [Settled(id_, Outgoing.State.REFUSED, problem=_GONE) for id_ in lot.missing]
    changes: list[Change] = []
    for id_, row in lot.rows.items():
        mapped = job.mapping.map(row)
        if (verdict := _verdict(id_, mapped)) is not None:
            settled.append(verdict)
        else:
            changes.append(_change(job, id_, row, mapped))
    results = _pushed(job, changes)
    crash.point("relay.pushed")
    settled += [one for result in results.values() if (one := _settled(result)) is not None]
    with transaction.atomic():
        message_writer.settle(job.claim.fence, job.sync.pk, settled)
        if unsaid := [one.event_id for one in settled if one.state in _UNSAID]:
            queueing.unsaid(job.sync.pk, unsaid)
    crash.point("relay.settled")
    _go_on_later(results)


_UNSAID: Final = frozenset({Outgoing.State.REFUSED, Outgoing.State.EXCLUDED})
_GONE: Final = Problem("gone_here", "The event is not in the inbox any more. Its time there was over before it was passed on.")


def _verdict(event_id: int, mapped: Mapped) -> Settled | None:
    """None when it is to be sent."""
    if mapped.problems:
        first = mapped.problems[0]
        return Settled(event_id, Outgoing.State.REFUSED, problem=Problem(first.code.value, first.message, property=first.target))
    return None if mapped.included else Settled(event_id, Outgoing.State.EXCLUDED)


def _change(job: StreamJob, event_id: int, row: Mapping[str, Any], mapped: Mapped) -> Change:
    source = job.sync.source
    origin = f"{source.connector}/{source.pk}" if source else job.sync.dataset
    message = Message(
        id=f"{source.pk if source else job.sync.pk}:{event_id}",
        key=row["remote_id"] or None,
        sequence=event_id,
        type=".".join(filter(None, (source.connector if source else "", row["object"], row["kind"]))),
        source=f"/{origin}",
        at=row["occurred_at"] or row["received_at"],
    )
    return Change(str(event_id), Op.CREATE, properties=mapped.properties, message=message)


def _pushed(job: StreamJob, changes: Sequence[Change]) -> dict[str, PushResult]:
    """By event id; the connector's batch size decides how many are sent at once."""
    size = job.object_type.batch_sizes.get(Op.CREATE, LOT)
    found: dict[str, PushResult] = {}
    for start in range(0, len(changes), size):
        sent = changes[start : start + size]
        job.lease.sure()  # whoever has the shard by now may have sent younger ones
        results = job.connector.call.push(session=job.session, object_type=job.object_type, changes=sent)
        found |= {one.local_key: one for one in results}
        if any(_open(found.get(one.local_key)) for one in sent):
            break  # what follows may be of the same keys, and must not overtake these
    return found


def _open(result: PushResult | None) -> bool:
    return result is None or result.status in (Status.UNKNOWN, Status.NOT_SENT)


def _settled(result: PushResult) -> Settled | None:
    """None for what is to be sent again."""
    if _open(result):
        return None
    if result.status is Status.REJECTED:
        error = result.error
        problem = Problem(error.code.value, error.message, property=error.property or "") if error else _REFUSED
        return Settled(int(result.local_key), Outgoing.State.REFUSED, problem=problem)
    return Settled(int(result.local_key), Outgoing.State.PUBLISHED, result.remote_id or "")


_REFUSED: Final = Problem("other", "The system refused the message and gave no reason.")


def _go_on_later(results: Mapping[str, PushResult]) -> None:
    """Raises for what was not settled, so that it is sent again after a pause."""
    unknown = sum(one.status is Status.UNKNOWN for one in results.values())
    unsent = sum(one.status is Status.NOT_SENT for one in results.values())
    if unknown:
        raise OutcomeUnknown(f"{unknown} messages got no answer. They are sent again, under the same ids.")
    if unsent:
        raise Retryable(f"{unsent} messages were not taken. They are sent again.")


_SOMETHING = """
SELECT p.id FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id
WHERE p.id = ANY(%s) AND EXISTS (
    SELECT 1 FROM syncline_outgoing o
    WHERE o.sync_id = r.sync_id AND o.shard = p.partition::smallint AND o.state = 'waiting')
"""


def waiting(part_ids: Sequence[int]) -> list[int]:
    """Those of these parts for which messages wait."""
    if not part_ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_SOMETHING, [list(part_ids)])
        return [id_ for (id_,) in cursor.fetchall()]
