"""Topics as objects: which there are, and what their messages hold."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]
from syncline.contract import ObjectType, Op, Session

from .cluster import Cluster, cluster
from .errors import END_OF_PARTITION
from .push import BATCH
from .settings import DEAD, new_topics, schemas
from .values import properties

SAMPLE_WITHIN_S: Final = 5.0
OWN: Final = "_"  # Kafka's topics and those of its tools begin so
EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
Ends = Mapping[TopicPartition, int]


def discover(session: Session) -> list[ObjectType]:
    """Those that are there and those that may be created, and for each where its dead letters go.

    A partition that has no leader just now is neither counted nor sampled.
    """
    ours, given = cluster(session), session.settings
    there = ours.metadata(session).topics
    pattern = re.compile(given.get("topics") or ".*")
    names = {name for name in there if not name.startswith(OWN) and pattern.fullmatch(name)} | set(new_topics(given))
    whole = names | {f"{name}{DEAD}" for name in names if not name.endswith(DEAD)}
    places = [TopicPartition(name, number) for name in sorted(whole & set(there)) for number in there[name].partitions]
    low, high = (_ends(ours, places, spec) for spec in (EARLIEST, LATEST))
    known = schemas(given)
    asked = [place for place in places if place.topic not in known and not place.topic.endswith(DEAD)]
    seen = _sample(ours, asked, low, high, int(given.get("sample", 0)))
    counts = {name: sum(high[p] - low[p] for p in high.keys() & low.keys() if p.topic == name) for name in whole}
    return [_object(name, known.get(name), seen.get(name, []), counts[name]) for name in sorted(whole)]


def _object(name: str, schema: Mapping[str, Any] | None, sample: list[bytes], count: int) -> ObjectType:
    dead = name.endswith(DEAD)
    return ObjectType(
        key=name,
        title=f"{name.removesuffix(DEAD)}: dead letters" if dead else name,
        properties=properties(schema, sample),
        batch_sizes={Op.CREATE: BATCH},
        page_size=1000,
        count=count,
        log=True,
        dead_letters="" if dead else f"{name}{DEAD}",
    )


def _ends(ours: Cluster, places: list[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
    if not places:
        return {}
    asked = ours.admin.list_offsets({place: spec for place in places}, request_timeout=10)
    return {place: told.result(12).offset for place, told in asked.items() if told.exception(12) is None}


def _sample(ours: Cluster, places: list[TopicPartition], low: Ends, high: Ends, size: int) -> dict[str, list[bytes]]:
    """The newest values of each topic; one consumer reads them all."""
    starts = [
        TopicPartition(p.topic, p.partition, max(low[p], high[p] - size))
        for p in places
        if size and high.get(p, 0) > low.get(p, 0)
    ]
    found: dict[str, list[bytes]] = {}
    if not starts:
        return found
    consumer = ours.consumer(**{"group.id": "syncline-sample", "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign(starts)
    open_ends, until = {(p.topic, p.partition) for p in starts}, time.monotonic() + SAMPLE_WITHIN_S
    try:
        while open_ends and time.monotonic() < until:
            for message in consumer.consume(1000, 0.1):
                error, topic, value = message.error(), message.topic() or "", message.value()
                if error is not None and error.code() == END_OF_PARTITION:
                    open_ends.discard((topic, message.partition() or 0))
                elif error is None and value is not None:
                    found.setdefault(topic, []).append(value)
    finally:
        consumer.close()
    return found
