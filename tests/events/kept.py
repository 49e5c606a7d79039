"""Collects what the books look at: the whole topic, and what the tables say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, TopicPartition
from django.db import Error, connections
from django.db.models import Sum
from syncline.inbox.models import Delivery, InboxEvent
from syncline.ledger.messages import Incoming, Outgoing
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.syncs.models import Sync
from syncline_host.demo_events.scenario import PARTITIONS, TOPIC, Scene
from syncline_kafka.pull import place_of
from syncline_licensing.models import Customer, LicenseChange

from .books import Effect, Event, Kept, Told

T = TypeVar("T")


def patiently(ask: Callable[[], T]) -> T:
    """The database may be replaying its log."""
    for _ in range(30):
        try:
            return ask()
        except Error:
            connections.close_all()
            time.sleep(1)
    return ask()


class Topic:
    """The topic as anybody else sees it."""

    def __init__(self, servers: str) -> None:
        config: dict[str, Any] = {"bootstrap.servers": servers, "group.id": "books", "enable.auto.commit": False, "log_level": 0}
        self._consumer = Consumer(config)

    def ends(self) -> Mapping[str, int]:
        places = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        return {str(one.partition): self._consumer.get_watermark_offsets(one, timeout=30)[1] for one in places}

    def messages(self) -> Iterator[Told]:
        ends = {int(number): end for number, end in self.ends().items()}
        self._consumer.assign([TopicPartition(TOPIC, number, 0) for number in ends])
        left = sum(ends.values())
        while left:
            for message in self._consumer.consume(1000, 30):
                assert message.error() is None, message.error()
                headers: dict[str, Any] = dict(message.headers() or ())
                left -= 1
                key, name, sequence = (message.key() or b"", headers["ce_id"], headers["ce_sequence"])
                place = message.partition() or 0, message.offset() or 0
                yield Told(*place, name.decode(), key.decode(), int(sequence))

    def close(self) -> None:
        self._consumer.close()


def posted() -> int:
    return Delivery.objects.count()


def carried(sync: Sync) -> int:
    """Its parts that some process has."""
    return RunPart.objects.filter(run__sync=sync, kind__in=RunPart.CONTINUOUS, state="leased").count()


def left(scene: Scene, topic: Topic) -> int:
    """Events and messages that are on their way."""
    waiting = InboxEvent.objects.filter(state="waiting").count() + Outgoing.objects.filter(state="waiting").count()
    stand = dict(Checkpoint.objects.filter(sync=scene.stream).values_list("partition", "position"))
    read = {number: place_of(TOPIC, position).offset for number, position in stand.items() if position}
    return waiting + sum(end - read.get(number, 0) for number, end in topic.ends().items())


def kept(scene: Scene, topic: Topic, acknowledged: int) -> Kept:
    events = InboxEvent.objects.filter(connection=scene.told, kind="message").order_by("pk")
    ours = {str(key): name for key, name in Customer.objects.values_list("pk", "salesforce_id")}
    effects = Incoming.objects.filter(sync_id=scene.stream.pk).order_by("pk").values_list("local_key", "message_id")
    history = LicenseChange.objects.order_by("pk").values_list("customer_id", "event", "sku__code")
    return Kept(
        source=scene.told.pk,
        acknowledged=acknowledged,
        stored=Delivery.objects.filter(state="read").count(),
        events=[Event(*row) for row in events.values_list("pk", "remote_id", "data")],
        outgoing=dict(Outgoing.objects.filter(sync=scene.relay).values_list("event_id", "state")),
        topic=list(topic.messages()),
        effects=[Effect(ours[key], message) for key, message in effects],
        history=[Effect(ours[str(key)], message, code or "terms") for key, message, code in history],
        read=RunPart.objects.filter(run__sync=scene.stream).aggregate(total=Sum("read"))["total"] or 0,
    )
