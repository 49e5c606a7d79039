"""Reads one partition from a position on, without a consumer group: where it stands is the host's to know."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from syncline.contract import ConfigError, ObjectType, Page, PullRequest, RemoteRecord, Session, SynclineError

from .cluster import cluster
from .envelope import Reader
from .errors import END_OF_PARTITION, Trouble, code_of, failure

PAGE: Final = 1000
WAIT_S: Final = 1.0  # without messages a page comes as often
ANSWER_S: Final = 3.0
LOOK_S: Final = 5.0
READING: Final = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 100,
    "queued.max.messages.kbytes": 16_384,
}
#: An offset, and the id of the topic in which it was reached: one made anew under the same name has another.
_POSITION: Final = re.compile(r"(?P<offset>[0-9]{1,18})(?:@(?P<topic>[A-Za-z0-9_-]{1,40}))?", re.ASCII)
LOST: Final = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET})


def pull(session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
    topic = object_type.key
    if request.partition is None:
        raise ConfigError(f"The topic {topic} is read by partition, and none was named.")
    position = None if request.position is None else place_of(topic, request.position)
    if int(request.partition) not in cluster(session).partitions(session, topic):
        raise ConfigError(f"The topic {topic} has no partition {request.partition} any more. Start the sync anew.")
    reading = Reading(session, topic, int(request.partition), Reader(object_type, request.properties))
    try:
        yield from reading.pages(position, follow=request.follow)
    finally:
        reading.close()


def place_of(topic: str, position: str) -> Place:
    found = _POSITION.fullmatch(position)
    if found is None:
        raise ConfigError(f"A position in {topic} is the offset of a message, such as 1200. {position!r} is none: set it anew.")
    return Place(int(found["offset"]), found["topic"] or "")


class Place(NamedTuple):
    """`topic`: the id of the topic, "" where nobody said."""

    offset: int
    topic: str


class Reading:
    def __init__(self, session: Session, topic: str, partition: int, reader: Reader) -> None:
        self._session, self._topic, self._partition, self._reader = session, topic, partition, reader
        self._trouble = Trouble()
        self._group = str(session.settings.get("group_id") or "")
        group = {"group.id": self._group or f"syncline-{session.installation}", "on_commit": self._committed}
        self._consumer: Consumer = cluster(session).consumer(error_cb=self._trouble, **READING, **group)
        self._id = cluster(session).topic_id(topic)
        self._next, self._look = 0, time.monotonic() + LOOK_S

    def close(self) -> None:
        self._consumer.close()

    def pages(self, position: Place | None, *, follow: bool) -> Iterator[Page]:
        low, high = self._bounds()
        self._id = self._id or (position.topic if position and position.offset <= high else "")
        another = position is not None and self._is_another(position.topic)
        gap = self._afresh(low) if another else self._begin(position.offset if position else None, low, high)
        if gap:
            yield self._page([], gap)
        while follow or self._next < high:
            page, ended = self._read()
            if ended and not follow:
                high = self._next
            more = follow or self._next < high
            if page.records or page.gap or follow or not more:
                yield page if more else Page(page.records, None, gap=page.gap)
                self._publish()
            if not more:
                return
        yield Page([], None)

    def _is_another(self, topic_id: str) -> bool:
        """Deleted and made anew, so that an offset in the former means nothing, however far this one has grown."""
        return bool(topic_id and self._id and topic_id != self._id)

    def _afresh(self, low: int) -> str:
        self._go(low)
        return f"The topic was made anew. Partition {self._partition} is read from its beginning."

    def _begin(self, position: int | None, low: int, high: int) -> str:
        """Where to go on; a sentence about what can no longer be read there."""
        if position is None or low <= position <= high:
            self._go(low if position is None else position)
            return ""
        self._go(low)
        if position < low:
            return f"The messages {position} to {low - 1} of partition {self._partition} were deleted before they were read."
        return (
            f"Partition {self._partition} ends at message {high}, before {position}, where reading stood: the topic was made "
            "anew or lost messages. It is read from its beginning."
        )

    def _go(self, position: int) -> None:
        self._next = position
        self._consumer.assign([self._here()])

    def _here(self) -> TopicPartition:
        return TopicPartition(self._topic, self._partition, self._next)

    def _bounds(self) -> tuple[int, int]:
        try:
            return self._consumer.get_watermark_offsets(self._here(), timeout=ANSWER_S)
        except KafkaException as error:
            raise self._error(code_of(error)) from error

    def _read(self) -> tuple[Page, bool]:
        """What has come, one second's waiting at most; whether the partition's end was seen."""
        first = self._consumer.poll(WAIT_S)
        if first is None:
            return self._nothing(), False
        records: list[RemoteRecord] = []
        ended = False
        for message in (first, *self._consumer.consume(PAGE - 1, 0)):
            error = message.error()
            if error is None:
                records.append(self._reader.record(message))
                self._next = (message.offset() or 0) + 1
            elif error.code() == END_OF_PARTITION:
                ended, self._next = True, max(self._next, message.offset() or 0)
            elif error.code() in LOST:
                return self._page(records, self._again(lost=True)), False
            else:
                self._ignore_or_raise(message, error)
        self._trouble.last = None
        return self._looked(records), ended

    def _ignore_or_raise(self, message: Message, error: KafkaError) -> None:
        """What the client mends by itself shows when no broker answers any more, see `_nothing`."""
        if not error.retriable() and message.topic() is not None:
            raise self._error(error)
        self._trouble(error)

    def _nothing(self) -> Page:
        """Silence may have a cause: no broker answers, the topic is gone, or is another one of that name."""
        if self._trouble.last:
            self._look = 0.0
        return self._looked([])

    def _looked(self, records: Sequence[RemoteRecord]) -> Page:
        """Now and then, however much comes: another topic of this name may have grown past our place meanwhile.

        What was read of it then is not its beginning, and comes again with that.
        """
        if time.monotonic() < self._look:
            return self._page(records)
        before, gap = self._id, self._again()
        self._trouble.last = None
        self._look = time.monotonic() + LOOK_S
        return self._page([] if gap and self._id != before else records, gap)

    def _again(self, *, lost: bool = False) -> str:
        """Looks whether there is still what is being read; goes elsewhere if not, and says so.

        What ends before our place and is told no id may be another topic: the id we had would be a claim.
        """
        told = cluster(self._session).topic_id(self._topic)
        low, high = self._bounds()
        before, self._id = self._id, told or (self._id if self._next <= high else "")
        if self._is_another(before):
            return self._afresh(low)
        return self._begin(self._next, low, high) if lost or not low <= self._next <= high else ""

    def _page(self, records: Sequence[RemoteRecord], gap: str = "") -> Page:
        _, high = self._consumer.get_watermark_offsets(self._here(), cached=True)
        position = f"{self._next}@{self._id}" if self._id else str(self._next)
        return Page(records, position, behind=max(high - self._next, 0), gap=gap)

    def _publish(self) -> None:
        """For lag tools only: the host takes the next page when it has read this one, and stores it moments later."""
        if self._group:
            self._consumer.commit(offsets=[self._here()], asynchronous=True)

    def _committed(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._session.log.warning("The position in %s was not published for lag tools: %s", self._topic, error.str())

    def _error(self, error: KafkaError) -> SynclineError:
        telling = self._trouble.last if error.code() < 0 and self._trouble.last else error
        return failure(self._session, telling, f"read partition {self._partition} of the topic {self._topic}")
