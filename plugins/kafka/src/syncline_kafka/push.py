"""Publishes a batch: acknowledged by all replicas, in order for each key."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from syncline.contract import Change, Code, ObjectType, PushResult, RecordError, RecordRejected, Session, Status

from .cluster import Cluster, cluster
from .envelope import packed
from .errors import DENIED, MISSING, code_of, failure

WAIT_S: Final = 16.0  # longer than the producer's own time-out, shorter than the host's for a call
SHARED_S: Final = 0.005  # another thread's poll may be told what this one waits for, which does not end the wait
BATCH: Final = 500
#: The broker or the client refused it, and will again.
REFUSED: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG, KafkaError._INVALID_ARG}
)
#: It certainly never left, or was not taken.
UNTAKEN: Final = DENIED | MISSING | {KafkaError._PURGE_QUEUE, KafkaError._QUEUE_FULL}


def push(session: Session, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
    ours = cluster(session)
    batch = Batch(ours, ours.producer(session, object_type.key), object_type)
    for change in changes:
        batch.send(change, session.installation)
    batch.wait()
    if batch.untaken and not batch.taken:
        raise failure(session, batch.untaken, f"write to the topic {object_type.key}")
    return [batch.results[change.local_key] for change in changes]


class Batch:
    """`results` by local key. `untaken`: why something was not taken that may be sent again; `taken`: something else was."""

    def __init__(self, ours: Cluster, producer: Producer, object_type: ObjectType) -> None:
        self._cluster, self._producer, self._object = ours, producer, object_type
        self._sent: list[str] = []
        self._until = time.monotonic() + WAIT_S
        self._failed = self._purged = False
        self.results: dict[str, PushResult] = {}
        self.untaken: KafkaError | None = None

    @property
    def taken(self) -> bool:
        return any(result.status is not Status.NOT_SENT for result in self.results.values())

    def send(self, change: Change, installation: str) -> None:
        key = change.local_key
        if self._failed:  # what comes later must not overtake it
            self.results[key] = PushResult(key, Status.NOT_SENT)
            return
        try:
            name, value, headers = packed(self._object, change, installation)
            self._produce(name, value, headers, partial(self._told, key))
        except RecordRejected as refused:
            self.results[key] = PushResult(key, Status.REJECTED, error=RecordError(refused.code, str(refused)))
        except KafkaException as error:
            self._failure(key, code_of(error))
        else:
            self._sent.append(key)

    def wait(self) -> None:
        while len(self.results) < len(self._sent) or any(key not in self.results for key in self._sent):
            if time.monotonic() > self._until:
                break
            self._producer.poll(SHARED_S)
            if self._failed and not self._purged:
                self._purged = True
                self._producer.purge(in_queue=True, in_flight=False, blocking=False)
        for key in self._sent:
            self.results.setdefault(key, PushResult(key, Status.UNKNOWN))

    def _produce(self, key: bytes | None, value: bytes | None, headers: object, told: Callable[..., None]) -> None:
        while True:
            try:
                self._producer.produce(self._object.key, value, key, on_delivery=told, headers=headers)  # type: ignore[arg-type]
                break
            except BufferError:
                if time.monotonic() > self._until:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
                self._producer.poll(0.05)
        self._producer.poll(0)

    def _told(self, key: str, error: KafkaError | None, message: Message) -> None:
        """Called back by `poll`, perhaps in another thread. Nothing here may call the producer."""
        if error is None:
            self.results[key] = PushResult(key, Status.CREATED, f"{message.partition()}:{message.offset()}")
        else:
            self._failure(key, error)

    def _failure(self, key: str, error: KafkaError) -> None:
        if error.code() in REFUSED:
            self.results[key] = PushResult(key, Status.REJECTED, error=_refusal(error))
            return
        self._failed = True
        if error.code() in UNTAKEN:
            self.untaken = self.untaken or error
            self._cluster.forget(self._object.key)
        if error.fatal():
            self._cluster.discard(self._producer)
        self.results[key] = PushResult(key, Status.NOT_SENT if error.code() in UNTAKEN else Status.UNKNOWN)


def _refusal(error: KafkaError) -> RecordError:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        said = "The message is bigger than the topic takes. Raise max.message.bytes of the topic, or send less."
        return RecordError(Code.TOO_LONG, said, vendor_code=error.name())
    return RecordError(Code.INVALID_VALUE, f"Kafka refused the message: {error.str()}", vendor_code=error.name())
