"""What is kept open to a cluster: one for each process and log-in, made when first needed, and never before a fork."""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
import time
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic
from syncline.contract import ConfigError, Retryable, Session

from .errors import TELLING, Trouble, code_of, failure
from .settings import DEAD, librdkafka, new_topics

TRIES, TRY_S = 3, 2.0
KEPT: Final = 16
USUAL_LIMIT: Final = 1_048_588  # Kafka's default of max.message.bytes
SETTLE_S: Final = 10.0
GLANCE_S: Final = 1.0
NO_IDS: Final = frozenset({"", "None", "A" * 22})
URL_SAFE: Final = str.maketrans("+/", "-_", "=")
#: Delivery ends within the time that the host gives one call.
PRODUCING: Final = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 12_000,
    "linger.ms": 5,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as Java's producers place a key
    "topic.metadata.propagation.max.ms": 5_000,
}


class Cluster:
    """Shared by the threads of a process."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.trouble = Trouble()
        self._config = {**config, "error_cb": self.trouble}
        self.admin = AdminClient(self._config)
        self._limits: dict[str, int] = {}
        self._producers: dict[int, Producer] = {}
        self._lock = threading.Lock()

    def metadata(self, session: Session) -> Any:
        """The brokers and all topics; raises what keeps us from them."""
        error = KafkaError(KafkaError._TIMED_OUT)
        for _ in range(TRIES):
            try:
                found = self.admin.list_topics(timeout=TRY_S)
            except KafkaException as raised:
                error = code_of(raised)
            else:
                self.trouble.last = None
                return found
            self.admin.poll(0)  # hands over what it told aside
            if self.trouble.last and self.trouble.last.code() in TELLING:
                error = self.trouble.last
                break
        raise failure(session, error, "be asked for its topics")

    def partitions(self, session: Session, topic: str) -> list[int]:
        """Of a topic that is there, or is created now because the settings name it."""
        wanted = new_topics(session.settings)
        mine = topic in wanted or topic.endswith(DEAD)
        found = self._appeared(session, topic, 0.0 if mine else GLANCE_S)
        if found is None and not mine:
            raise ConfigError(
                f"There is no topic {topic} in the cluster. Create it there, or name it under New topics in the settings of the "
                "connection."
            )
        if found is None:
            self._create(session, topic, wanted.get(topic, 1))
            found = self._appeared(session, topic, SETTLE_S)
        if found is None:
            raise Retryable(
                f"The topic {topic} was created, but the brokers do not know it yet. It is tried again by itself.", 2.0
            )
        return sorted(found.partitions)

    def producer(self, session: Session, topic: str) -> Producer:
        """Takes messages as big as the topic does, and batches no bigger."""
        if topic not in self._limits:
            self.partitions(session, topic)
            self._limits[topic] = self._limit(topic)
        elif self.trouble.last:
            self.metadata(session)
        limit = self._limits[topic]
        with self._lock:
            if limit not in self._producers:
                size = {"message.max.bytes": max(limit, 1000)}
                self._producers[limit] = Producer({**self._config, **PRODUCING, **size})
            return self._producers[limit]

    def consumer(self, **own: Any) -> Consumer:
        """Not shared. Close it."""
        return Consumer({**self._config, "error_cb": own.pop("error_cb", self.trouble), **own})

    def topic_id(self, topic: str) -> str:
        """What tells a topic from another that had its name before; "" where the broker does not say."""
        try:
            told = self.admin.describe_topics(TopicCollection([topic]), request_timeout=5)[topic].result(6)
        except (KafkaException, TimeoutError):
            return ""
        return id_text(told.topic_id)

    def forget(self, topic: str) -> None:
        """It may have been deleted or changed: it is looked up again before the next message."""
        self._limits.pop(topic, None)

    def discard(self, producer: Producer) -> None:
        """After a fatal error it takes nothing any more."""
        with self._lock:
            self._producers = {limit: one for limit, one in self._producers.items() if one is not producer}

    def close(self) -> None:
        for producer in self._producers.values():
            producer.flush(5)

    def _limit(self, topic: str) -> int:
        """Who may not read the topic's settings keeps to what is usual."""
        asked = ConfigResource(ResourceType.TOPIC, topic)
        try:
            told = self.admin.describe_configs([asked], request_timeout=5)[asked].result(6)
        except (KafkaException, TimeoutError):
            return USUAL_LIMIT
        known = told.get("max.message.bytes")
        return int(known.value) if known and known.value else USUAL_LIMIT

    def _create(self, session: Session, topic: str, partitions: int) -> None:
        made = self.admin.create_topics([NewTopic(topic, partitions, -1)], operation_timeout=SETTLE_S)
        try:
            made[topic].result(SETTLE_S + 2)
        except KafkaException as error:
            if code_of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise failure(session, code_of(error), f"create the topic {topic}") from error

    def _appeared(self, session: Session, topic: str, within: float) -> Any:
        """The topic, or None: brokers learn of a new one one after the other."""
        until = time.monotonic() + within
        while True:
            found = self.metadata(session).topics.get(topic)
            if found is not None and found.partitions and found.error is None:
                return found
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)


def id_text(topic_id: object) -> str:
    """As Kafka's own tools write it; the client uses the other Base64 alphabet. "" for none."""
    text = str(topic_id)
    return "" if text in NO_IDS else text.translate(URL_SAFE)


_clusters: dict[tuple[int, str], Cluster] = {}
_lock = threading.Lock()


def cluster(session: Session) -> Cluster:
    config = librdkafka(session)
    key = (os.getpid(), hashlib.sha256(repr(sorted(config.items())).encode()).hexdigest())
    with _lock:
        if key not in _clusters:
            _clusters[key] = Cluster(config)
            own = [one for one in _clusters if one[0] == key[0]]
            for old in own[:-KEPT]:
                del _clusters[old]  # whoever uses it now still holds it
        return _clusters[key]


def _after_fork() -> None:
    """The parent's clients stay untouched here: their threads are in the parent."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()


@atexit.register
def _close() -> None:
    for (pid, _), one in _clusters.items():
        if pid == os.getpid():
            one.close()


os.register_at_fork(after_in_child=_after_fork)
