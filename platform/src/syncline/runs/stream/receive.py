"""Takes in the messages of one partition of a remote log: mapped, written, and the position moved, in one transaction.

The position is ours alone: a message is taken in exactly once, however often the part changes hands. What cannot be taken in is
kept whole, with its reason, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import Code, ConfigError, LocalChange, Op, Page, PullRequest, RemoteRecord, Status, Written
from syncline.ledger import message_writer, writer
from syncline.ledger.message_writer import NO_MESSAGE, Dead, Taken
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.pulled import Checkpoint
from syncline.ledger.records import Outcome, Problem
from syncline.runs import crash
from syncline.runs.pull.local import Writer
from syncline.runs.pull.pages import close, together
from syncline.syncs.engine.inbound import InboundMapping

from . import dead_letters
from .job import StreamJob

LOT: Final = 5000
"""Records that are stored together at most, about, when they come faster than they can be stored."""

AHEAD: Final = 4
"""Pages that are read while others are stored."""

SILENCE: Final = 60.0
"""Seconds without a page, of which there is to be one every five, after which a connector is believed to hang."""

UNREADABLE: Final = "unreadable"
TOMBSTONE: Final = "tombstone"


def take_in(job: StreamJob) -> None:
    """Until it is told to stop."""
    inbound = job.mapping.inbound
    if inbound is None:
        raise ConfigError(f"The mapping of {job.sync.name} does not pull. Publish it again.")
    here = Receiver(job, inbound)
    here.publish_dead()
    arriving = here.arriving(pages(job, inbound.properties, job.part.partition))
    with together(arriving, lambda one: len(one.page.records), LOT, AHEAD, SILENCE) as batches:
        for one in (one for batch in batches for one in joined(batch)):
            if one.page.records or one.page.gap:
                here.store(one)
            job.gauge.saw(len(one.page.records), one.page.behind)
            if job.interrupted():
                return


@dataclass(frozen=True, slots=True)
class Arrived:
    """A page, what is to be written of it, what cannot be, and how many of its records the filter leaves out."""

    page: Page
    changes: Sequence[LocalChange]
    dead: Sequence[Dead]
    outside: int


def joined(batch: Sequence[Arrived]) -> list[Arrived]:
    """As one, up to a page with a gap: after that the same places may come again."""
    found: list[list[Arrived]] = []
    for one in batch:
        if one.page.gap or not found:
            found.append([])
        found[-1].append(one)
    return [_one(some) for some in found]


def _one(some: Sequence[Arrived]) -> Arrived:
    if len(some) == 1:
        return some[0]
    pages = [one.page for one in some]
    reached = [page.position for page in pages if page.position is not None]
    page = Page(
        [record for page in pages for record in page.records],
        reached[-1] if reached else None,
        behind=pages[-1].behind,
        gap=pages[0].gap,
    )
    changes, dead = [c for one in some for c in one.changes], [d for one in some for d in one.dead]
    return Arrived(page, changes, dead, sum(one.outside for one in some))


def pages(job: StreamJob, properties: tuple[str, ...], partition: str | None = None) -> Iterator[Page]:
    """What follows the position stored; whoever asks for the first one makes the call.

    The position is read by the caller: a thread that the connector hangs would keep its connection to the database for ever.
    """
    return _called(job, PullRequest(properties, position(job) or None, partition, follow=True))


def _called(job: StreamJob, request: PullRequest) -> Iterator[Page]:
    yield from job.connector.call.pull(session=job.session, object_type=job.object_type, request=request)


def position(job: StreamJob) -> str:
    found = Checkpoint.objects.filter(sync_id=job.sync.pk, partition=job.part.partition).values_list("position", flat=True)
    return found.first() or ""


class Receiver:
    def __init__(self, job: StreamJob, inbound: InboundMapping) -> None:
        self._job, self._inbound = job, inbound
        self._writer = Writer(job.source.dataset, job.sync.connection.owner)

    def arriving(self, pages: Iterator[Page]) -> Iterator[Arrived]:
        try:
            for page in pages:
                yield Arrived(page, *self._sorted(page.records))
        finally:
            close(pages)

    def store(self, arrived: Arrived) -> None:
        job, page = self._job, arrived.page
        crash.point("stream.before")
        with transaction.atomic(), connection.cursor() as cursor:
            writer.hold(cursor, job.claim.fence, "FOR NO KEY UPDATE")
            answers = self._writer.write(arrived.changes)
            dead = [*arrived.dead]
            dead += [_refusal(r, answers[r.id]) for r in page.records if _is_refused(answers.get(r.id))]
            message_writer.take(cursor, job.sync.pk, job.run.pk, self._taken(page.records, answers))
            message_writer.bury(cursor, job.sync.pk, job.run.pk, job.part.partition, dead)
            note_gap(cursor, job, page.gap)
            move(cursor, job, page)
            counts = _counted(answers.values())
            counts.update(read=len(page.records), excluded=arrived.outside, rejected=len(dead) - counts["rejected"])
            writer.advance(cursor, job.claim.fence, counts)
        crash.point("stream.after")
        if dead:
            self.publish_dead()

    def publish_dead(self) -> None:
        dead_letters.publish(self._job)

    def _sorted(self, records: Sequence[RemoteRecord]) -> tuple[list[LocalChange], list[Dead], int]:
        """What is to be written, what cannot be, and how many the filter leaves out."""
        changes: list[LocalChange] = []
        dead: list[Dead] = []
        outside = 0
        for record in records:
            found = self._mapped(record)
            if isinstance(found, LocalChange):
                changes.append(found)
            elif found is None:
                outside += 1
            else:
                dead.append(Dead(record, found))
        return changes, dead, outside

    def _mapped(self, record: RemoteRecord) -> LocalChange | Problem | None:
        message = record.message or NO_MESSAGE
        if message.problem:
            return Problem(UNREADABLE, message.problem)
        if record.archived:
            return _NO_VALUE
        mapped = self._inbound.map(record.properties)
        if mapped.problems:
            first = mapped.problems[0]
            return Problem(first.code.value, first.message, property=first.target)
        if not mapped.included:
            return None
        return LocalChange(
            record.id, Op.UPSERT, values=mapped.properties, sequence=message.sequence, at=message.at, event=message.id
        )

    @staticmethod
    def _taken(records: Sequence[RemoteRecord], answers: dict[str, Written]) -> list[Taken]:
        found = []
        for record in records:
            answer = answers.get(record.id)
            if answer is not None and answer.status in (Status.CREATED, Status.UPDATED):
                name = (record.message or NO_MESSAGE).id
                found.append(Taken(record.id, name, answer.local_key or "", answer.status.value))
        return found


_NO_VALUE: Final = Problem(
    TOMBSTONE,
    "It has a key and no value: its producer says that there is nothing under the key any more. Nothing is deleted here.",
)


def _is_refused(answer: Written | None) -> bool:
    return answer is not None and answer.status is Status.REJECTED


def _refusal(record: RemoteRecord, answer: Written) -> Dead:
    error = answer.error
    if error is None:
        return Dead(record, Problem(Code.OTHER.value, "Our app refused it and gave no reason."))
    return Dead(record, Problem(error.code.value, error.message, property=error.property or ""))


#: In which counter of the run a message taken in is.
_COUNTED: Final = {
    Status.CREATED: "created",
    Status.UPDATED: "updated",
    Status.UNCHANGED: "unchanged",
    Status.REJECTED: "rejected",
}


def _counted(answers: Iterable[Written]) -> Counter[str]:
    return Counter(_COUNTED[one.status] for one in answers)


_MOVE = """
INSERT INTO syncline_checkpoint (sync_id, partition, position, whole, archived, run_id) VALUES (%s, %s, %s, false, false, %s)
ON CONFLICT (sync_id, partition) DO UPDATE SET position = excluded.position, run_id = excluded.run_id, at = now()
"""


def move(cursor: CursorWrapper, job: StreamJob, page: Page) -> None:
    if page.position is not None:
        cursor.execute(_MOVE, [job.sync.pk, job.part.partition, page.position, job.run.pk])


def note_gap(cursor: CursorWrapper, job: StreamJob, gap: str) -> None:
    """Something is lost, and nobody can bring it back: the run says so."""
    if gap:
        lost = Outcome(
            f"partition {job.part.partition}", 0, Link.State.GONE, problem=Problem("gap", gap, group=job.part.partition)
        )
        writer.group(cursor, job.run.pk, [lost], ErrorGroup.PULLED)
