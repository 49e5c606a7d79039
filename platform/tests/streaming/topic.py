"""A system of logs in memory: topics with partitions, which can fail in every way a broker does, and its connector."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from syncline.contract import (
    Account,
    AuthMethod,
    Capability,
    Change,
    Code,
    ConnectorInfo,
    ConnectorSpec,
    Event,
    EventKind,
    Kind,
    Message,
    ObjectType,
    Op,
    Page,
    Permanent,
    Property,
    PullRequest,
    PushResult,
    RecordError,
    RemoteRecord,
    Retryable,
    Session,
    Status,
    WebhookRequest,
    hookimpl,
)

NAMES = ("key", "name", "note")
DEAD = "letters"


@dataclass
class Topics:
    """`before_push`: called with each batch, may raise; `after_push` may raise although all was stored. `limit`: bytes.
    `hangs`: until when a pull does not come back."""

    partitions: int = 2
    held: dict[str, list[list[Message]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    before_push: Callable[[Sequence[Change]], None] = lambda _changes: None
    after_push: Callable[[Sequence[Change]], None] = lambda _changes: None
    limit: int = 10_000
    gone: bool = False
    gap: str = ""
    hangs: threading.Event | None = None
    pulls: list[PullRequest] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)

    def of(self, topic: str) -> list[list[Message]]:
        return self.held.setdefault(topic, [[] for _ in range(self.partitions)])

    def put(self, topic: str, message: Message, partition: int | None = None) -> str:
        with self.lock:
            logs = self.of(topic)
            chosen = sum((message.key or "").encode()) % len(logs) if partition is None else partition
            logs[chosen].append(message)
            return f"{chosen}:{len(logs[chosen]) - 1}"

    def say(self, topic: str, key: str, sequence: int | None = None, partition: int | None = None, **properties: object) -> str:
        """As a producer elsewhere does."""
        body = json.dumps({"key": key, **properties}).encode()
        return self.put(topic, Message(f"m{sequence}", key, sequence, body=body), partition)

    def told(self, topic: str) -> list[dict[str, object]]:
        return [json.loads(m.body) for log in self.of(topic) for m in log]


class Logs(ConnectorSpec):
    topics: Topics

    @hookimpl
    def describe(self) -> ConnectorInfo:
        able = {Capability.CHECK, Capability.DISCOVER, Capability.PUSH, Capability.PULL, Capability.PARTITIONS, Capability.PARSE}
        return ConnectorInfo("logs", "Logs", "1", ">=1,<2", frozenset(able), unsigned_webhooks=True)

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod("none", "Nothing", "none")]

    @hookimpl
    def check(self, session: Session) -> Account:
        return Account("1", "Logs")

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        properties = (Property("$", "All", Kind.JSON), *(Property(name, name) for name in NAMES))
        return [ObjectType("topic", "Topic", properties, {Op.CREATE: 100}, log=True, dead_letters=DEAD)]

    @hookimpl
    def partitions(self, session: Session, object_type: ObjectType) -> Sequence[str]:
        return [str(number) for number in range(self.topics.partitions)]

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if self.topics.gone:
            raise Retryable("The broker cannot be reached.", after=0.05)
        self.topics.before_push(changes)
        results = [self._one(object_type.key, change) for change in changes]
        self.topics.after_push(changes)
        return results

    def _one(self, topic: str, change: Change) -> PushResult:
        message = change.message or Message()
        body = message.body or str(change.properties.get("$") or json.dumps(dict(change.properties))).encode()
        if len(body) > self.topics.limit:
            error = RecordError(Code.TOO_LONG, "The message is larger than the broker takes.")
            return PushResult(change.local_key, Status.REJECTED, error=error)
        copy = Message(message.id, message.key, message.sequence, message.type, message.source, message.at, message.headers, body)
        place = self.topics.put(topic, copy)
        if change.local_key in self.topics.unanswered:
            self.topics.unanswered.discard(change.local_key)
            return PushResult(change.local_key, Status.UNKNOWN)
        return PushResult(change.local_key, Status.CREATED, place)

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        self.topics.pulls.append(request)
        at, partition = int(request.position or 0), int(request.partition or 0)
        gap, self.topics.gap = self.topics.gap, ""
        while True:
            if self.topics.hangs:
                self.topics.hangs.wait()
            if self.topics.gone:
                raise Retryable("The broker cannot be reached.", after=0.05)
            log = self.topics.of(object_type.key)[partition]
            found = log[at : at + 50]
            records = [_record(f"{partition}:{at + n}", m) for n, m in enumerate(found)]
            at += len(found)
            yield Page(records, str(at), behind=len(log) - at, gap=gap)
            gap = ""
            if not found:
                time.sleep(0.01)

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        try:
            told = json.loads(request.body)
        except ValueError as error:
            raise Permanent("The body is no JSON.") from error
        return [
            Event(EventKind(one.get("kind", "message")), object_type=one.get("object", "thing"), remote_id=one["key"], data=one)
            for one in told
        ]


def _record(place: str, message: Message) -> RemoteRecord:
    if not message.body:
        return RemoteRecord(place, {}, archived=True, message=message)
    try:
        told = json.loads(message.body)
    except ValueError:
        said = Message(message.id, message.key, message.sequence, body=message.body, problem="It is no JSON.")
        return RemoteRecord(place, {}, message=said)
    properties = {name: told.get(name) for name in NAMES}
    return RemoteRecord(place, {**properties, "$": json.dumps(told, sort_keys=True)}, message=message)
