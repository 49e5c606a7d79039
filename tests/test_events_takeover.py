"""Two `syncline stream` processes have three partitions between them; one is killed, and the other goes on with its messages."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from django.contrib.auth.models import User
from django.test import override_settings
from syncline.ledger.messages import Incoming
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.syncs.models import Sync
from syncline_host.demo_events import scenario
from syncline_kafka.pull import place_of
from syncline_licensing.models import Customer, LicenseChange

from tests.events.going import streams, topic_of_its_own, until

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

CUSTOMERS = 30
PAUSE = 0.005
"""Seconds between two messages."""
WITHIN = 15.0


@dataclass
class Feed:
    """Messages of customers who begin and end with a product by turns, so that each message has an effect.

    `sent`: the newest sequence by customer. `acknowledged`: where the broker put each, partition → offsets.
    """

    producer: Producer
    topic: str
    stop: threading.Event = field(default_factory=threading.Event)
    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)

    def run(self) -> None:
        for number in itertools.count(1):
            if self.stop.wait(PAUSE):
                break
            self._send(number, f"customer {number % CUSTOMERS}", on=(number // CUSTOMERS) % 2 == 0)
            self.producer.poll(0)
        assert self.producer.flush(30) == 0

    def _send(self, number: int, customer: str, *, on: bool) -> None:
        body = json.dumps({"Id": customer, "Name": customer, "SignedTos": True, "SKU1": on}).encode()
        headers: Any = {
            "ce_id": f"1:{number}",
            "ce_sequence": str(number),
            "ce_specversion": "1.0",
            "ce_source": "/t",
            "ce_type": "t",
        }
        self.producer.produce(self.topic, body, customer, headers=headers, on_delivery=self._told)
        self.sent[customer] = number

    def _told(self, error: Any, message: Any) -> None:
        assert error is None, error
        self.acknowledged.append((message.partition(), message.offset()))


@pytest.fixture
def topic(kafka: Kafka) -> Iterator[str]:
    with topic_of_its_own(kafka, "takeover") as name:
        yield name


@pytest.fixture
def sync(kafka: Kafka, topic: str) -> Iterator[Sync]:
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        yield scenario.make(User.objects.create_superuser("ann"), kafka.servers, topic).stream


@pytest.fixture
def feed(kafka: Kafka, topic: str, sync: Sync) -> Iterator[Callable[[], Feed]]:
    """Begins when it is called."""
    made = Feed(Producer({"bootstrap.servers": kafka.servers, "acks": "all", "enable.idempotence": True, "log_level": 0}), topic)
    thread = threading.Thread(target=made.run)

    def begin() -> Feed:
        thread.start()
        return made

    yield begin
    made.stop.set()
    thread.join()


def owners(sync: Sync) -> Mapping[str, int]:
    """Partition → the process that has it."""
    found = RunPart.objects.filter(run__sync=sync, state="leased").values_list("partition", "owner")
    return {partition: int(owner.split(":")[1]) for partition, owner in found}


def positions(sync: Sync) -> dict[str, int]:
    stand = Checkpoint.objects.filter(sync=sync).values_list("partition", "position")
    return {name: place_of(scenario.TOPIC, position).offset for name, position in stand}


def shared(sync: Sync) -> bool:
    """Two and one of the three, once the second process has come."""
    return sorted(Counter(owners(sync).values()).values()) == [1, 2]


def moved(sync: Sync, before: Mapping[str, int], names: set[str]) -> bool:
    now = positions(sync)
    return all(now.get(name, 0) > before.get(name, 0) for name in names)


def test_the_partitions_of_a_killed_process_are_another_s_soon_and_nothing_is_lost_or_doubled(
    database_url: str, sync: Sync, feed: Callable[[], Feed]
) -> None:
    Sync.objects.exclude(pk=sync.pk).update(enabled=False)  # its messages are made here
    with streams(database_url) as start:
        start()
        start()
        until(lambda: shared(sync), 120)
        fed = feed()
        until(lambda: moved(sync, {}, {"0", "1", "2"}))
        killed = next(pid for pid, number in Counter(owners(sync).values()).items() if number == 2)
        lost = {name for name, pid in owners(sync).items() if pid == killed}
        os.kill(killed, signal.SIGKILL)
        begun = time.monotonic()
        time.sleep(0.5)  # what it had handed over is committed
        before = positions(sync)
        until(lambda: moved(sync, before, lost))
        seconds = time.monotonic() - begun
        fed.stop.set()
        ends = Counter[str]()
        until(lambda: len(fed.acknowledged) >= max(fed.sent.values()), 30)
        for partition, offset in fed.acknowledged:
            ends[str(partition)] = max(ends[str(partition)], offset + 1)
        until(lambda: positions(sync) == dict(ends))

    messages = max(fed.sent.values())
    print(f"\n{messages} messages, {len(lost)} partitions taken over after {seconds:.1f} s")
    assert seconds < WITHIN
    assert Counter(Incoming.objects.values_list("message_id", flat=True)) == Counter(f"1:{n}" for n in range(1, messages + 1))
    assert dict(Customer.objects.values_list("salesforce_id", "sequence")) == fed.sent
    switched = LicenseChange.objects.filter(sku__code="SKU1").order_by("pk").values_list("customer__salesforce_id", "active")
    for customer in fed.sent:
        ours = [on for who, on in switched if who == customer]
        assert ours == [n % 2 == 0 for n in range(len(ours))], customer
