"""Whatever comes on the way from the webhook to the licences has a kept, explained outcome, and the stream goes on."""

from __future__ import annotations

import datetime as dt
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils import timezone
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.inbox.models import Delivery, Refusal
from syncline.ledger.messages import DeadLetter, Outgoing
from syncline.ledger.models import ErrorGroup
from syncline.runs.models import Run, RunPart
from syncline_host.demo_events import scenario
from syncline_host.demo_events.scenario import Scene
from syncline_licensing.models import Customer, License, LicenseChange, UnknownSku

from tests.events.going import create, delete, streams, topic_of_its_own, until
from tests.inbound.server import serving

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 20_000
"""Bytes that a message of the topic may have."""
CAP = 1_048_576
"""Bytes of a delivery that the inbox takes."""
BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha" * 50}">' for n in range(9))


@dataclass
class World:
    scene: Scene
    kafka: Kafka
    topic: str
    port: int

    def post(self, body: bytes) -> int:
        """Without a Content-Type, as the first system does it."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request("POST", "/salesforce/webhook", body)
            return line.getresponse().status
        finally:
            line.close()

    def produce(self, body: bytes | None, key: str | None = "k", **event: str) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.servers, "log_level": 0, "message.timeout.ms": 20_000})
        headers: Any = {f"ce_{name}": value for name, value in event.items()}
        producer.produce(self.topic, body, key, partition=0, headers=headers)
        assert producer.flush(20) == 0

    def arrives(self, customer: str) -> None:
        """What is sound still becomes a licence."""
        until(lambda: customer in licensed())

    def dead(self) -> list[DeadLetter]:
        """In the order of the topic."""
        return sorted(DeadLetter.objects.all(), key=lambda letter: int(letter.remote_id.partition(":")[2]))


def licensed() -> set[str]:
    return set(License.objects.filter(active=True, sku__code="SKU1").values_list("customer__salesforce_id", flat=True))


def customer(name: str, **changed: Any) -> bytes:
    return json.dumps({"Id": name, "Name": name, "SignedTos": True, "SKU1": True, **changed}).encode()


@pytest.fixture
def world(kafka: Kafka, database_url: str) -> Iterator[World]:
    """One web and one stream process at work."""
    with (
        topic_of_its_own(kafka, "odd") as topic,
        override_settings(SYNCLINE_ALLOW_LOOPBACK=True),
        serving("--workers", "1", "--threads", "2", app="syncline_host.wsgi", database_url=database_url) as web,
        streams(database_url) as start,
    ):
        create(kafka, topic, **{"max.message.bytes": str(LIMIT)})
        scene = scenario.make(User.objects.create_superuser("ann"), kafka.servers, topic)
        start()
        yield World(scene, kafka, topic, web.port)


#: What is posted → the sentence that is kept with it.
UNREADABLE: Mapping[str, tuple[bytes, str]] = {
    "no JSON": (b"Id=1&SKU1=true", "neither JSON that can be read nor an outbound message"),
    "nothing": (b"", "neither JSON that can be read nor an outbound message"),
    "JSON of another shape": (b"[1, 2]", "neither an object nor a list"),
    "200,000 levels of JSON": (b"[" * 200_000, "neither JSON that can be read"),
    "a product of another type": (customer("x", SKU1="yes"), "The customer has SKU1 of another type"),
    "a name of another type": (customer("x", Name=["a"]), "The customer has Name of another type"),
    "a customer without a name for it": (customer("x", Id=None), "The customer has no Id"),
    "a bomb of entities": (f"<!DOCTYPE x [{BOMB}]><a>&a8;</a>".encode(), ""),
    "200,000 levels of XML": (b"<a>" * 200_000, ""),
}


def test_what_is_posted_is_kept_with_its_reason_and_the_sound_one_after_it_arrives(world: World) -> None:
    answers = {what: world.post(body) for what, (body, _) in UNREADABLE.items()}
    assert set(answers.values()) == {200}, answers  # it would be no better the second time
    until(lambda: not Delivery.objects.filter(state="stored").exists())
    kept = list(Delivery.objects.order_by("pk").values_list("state", "cause", "body"))
    for (body, said), (state, cause, stored) in zip(UNREADABLE.values(), kept, strict=True):
        assert (state, bytes(stored)) == ("unreadable", body)
        assert cause
        assert said in cause

    assert world.post(customer("huge", Name="x" * CAP)) == 413
    assert dict(Refusal.objects.values_list("cause", "count")) == {"too large": 1}
    assert world.post(customer("unknown", SKU77=True)) == 200
    assert world.post(customer("good")) == 200
    world.arrives("good")
    world.arrives("unknown")
    assert dict(UnknownSku.objects.values_list("code", "count")) == {"SKU77": 1}
    assert set(Customer.objects.values_list("salesforce_id", flat=True)) == {"good", "unknown"}
    assert world.dead() == []


def test_a_message_that_the_broker_does_not_take_is_kept_with_its_reason_and_the_others_go_on(world: World) -> None:
    if not world.kafka.apache:
        pytest.skip("apache kafka: the small broker takes messages of any size; Java 17 and Maven bring Apache's")
    more = {
        f"More{number}": number * 7919 % 99_991 for number in range(5000)
    }  # more than the topic's limit, less than the inbox's
    assert world.post(customer("big", **more)) == 200
    assert world.post(customer("good")) == 200
    world.arrives("good")
    until(lambda: Outgoing.objects.filter(state="refused").exists())
    refused = Outgoing.objects.get(state="refused")
    assert (refused.key, refused.code) == ("big", "too_long")
    assert "Raise max.message.bytes of the topic" in refused.reason
    assert [group.count for group in ErrorGroup.objects.all()] == [1]
    assert Delivery.objects.filter(state="read").count() == 2


#: What is in the topic → code and beginning of the reason.
REFUSED: Mapping[str, tuple[bytes | None, str, str]] = {
    "no JSON": (b"not json", "unreadable", "The message is no JSON that can be read"),
    "JSON of another shape": (b"[1]", "unreadable", "The message is JSON, but no object"),
    "200,000 levels": (b'{"a":' * 3_900, "unreadable", "The message is no JSON that can be read"),
    "terms of another type": (customer("x", SignedTos="yes"), "unreadable", "Its SignedTos is not true or false."),
    "a product of another type": (customer("x", SKU1=1), "invalid_value", "SKU1 must be true or false."),
    "no customer": (customer("x", Id=None), "required", ""),
    "a name that is too long": (customer("x", Name="n" * 300), "too_long", "Rule “Name ← name”"),
    "a tombstone": (None, "tombstone", "It has a key and no value"),
}


def test_what_others_put_into_the_topic_is_kept_with_its_reason_and_the_sound_one_after_it_arrives(world: World) -> None:
    for body, _, _ in REFUSED.values():
        world.produce(body)
    world.produce(customer("keyless"), key=None)
    world.produce(customer("unknown", SKU77=True, Other={"deep": [1]}))
    world.produce(customer("good"))
    for name in ("good", "keyless", "unknown"):
        world.arrives(name)

    for letter, (body, code, said) in zip(world.dead(), REFUSED.values(), strict=True):
        assert (letter.code, bytes(letter.body)) == (code, body or b"")
        assert letter.reason.startswith(said)
    until(lambda: not DeadLetter.objects.filter(published_at=None).exists())
    assert sorted(published(world, len(REFUSED))) == sorted(body or b"" for body, _, _ in REFUSED.values())
    assert set(Customer.objects.values_list("salesforce_id", flat=True)) == {"good", "keyless", "unknown"}


def published(world: World, number: int) -> list[bytes]:
    """In the topic of dead letters."""
    config = {"bootstrap.servers": world.kafka.servers, "group.id": "none", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(config)
    consumer.assign([TopicPartition(f"{world.topic}.dlq", 0, 0)])
    try:
        return [message.value() or b"" for message in consumer.consume(number, 20)]
    finally:
        consumer.close()


@pytest.mark.parametrize(
    "time",
    ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "now"],
)
def test_a_clock_that_is_wrong_leads_to_no_impossible_moment(time: str, world: World) -> None:
    before = timezone.now()
    world.produce(customer("skewed"), id="x:1", sequence="1", source="/x", type="t", specversion="1.0", time=time)
    world.arrives("skewed")
    world.produce(customer("skewed", SKU1=False), id="x:2", sequence="2", source="/x", type="t", specversion="1.0")
    until(lambda: "skewed" not in licensed())
    slack = dt.timedelta(seconds=60)
    moments = list(LicenseChange.objects.order_by("pk").values_list("at", flat=True))
    assert moments == sorted(moments)
    assert all(before - slack < one < timezone.now() + slack for one in moments), moments
    assert world.dead() == []


def test_a_topic_that_vanishes_and_is_made_again_is_told_and_everything_goes_on(world: World) -> None:
    Connection.objects.filter(pk=world.scene.broker.pk).update(settings=without(world.scene.broker, "new_topics"))
    assert world.post(customer("before")) == 200
    world.arrives("before")
    delete(world.kafka, world.topic)
    assert world.post(customer("meanwhile")) == 200
    until(lambda: says("there is no", world.scene) or says("no such topic", world.scene), 90)
    assert Outgoing.objects.filter(state="waiting").count() == 1
    assert set(Run.objects.values_list("state", flat=True)) == {"running"}

    create(world.kafka, world.topic)
    assert world.post(customer("after")) == 200
    until(lambda: {"meanwhile", "after"} <= licensed(), 120)


def without(connection: Connection, name: str) -> dict[str, Any]:
    return {key: value for key, value in connection.settings.items() if key != name}


def says(words: str, scene: Scene) -> bool:
    told = RunPart.objects.filter(run__sync__in=[scene.relay, scene.stream]).values_list("last_error", flat=True)
    return any(words in one.lower() for one in told)


def test_a_schema_that_changes_in_flight_stops_only_what_no_longer_fits(world: World) -> None:
    world.produce(customer("first"))
    world.arrives("first")
    world.produce(customer("other", Name={"first": "Ada"}))
    world.produce(customer("more", Region="EU"))  # a property that nobody knew
    world.arrives("more")
    [letter] = world.dead()
    assert letter.code == "unreadable"
    assert letter.reason == "Its Name is not a text. If the topic's messages have changed, refresh the catalog."

    schema = {**scenario.SCHEMA["properties"], "Name": {"type": "object"}, "Region": {"type": "string"}}
    Connection.objects.filter(pk=world.scene.broker.pk).update(
        settings={**world.scene.broker.settings, "schemas": json.dumps({world.topic: {"properties": schema}})}
    )
    world.scene.broker.refresh_from_db()
    before = Run.objects.get(sync=world.scene.stream)
    catalog.refresh(world.scene.broker)
    until(lambda: Run.objects.filter(sync=world.scene.stream, state="running").exclude(pk=before.pk).exists())
    world.produce(customer("later", Name={"first": "Ada"}))
    world.arrives("later")
    [told] = ErrorGroup.objects.filter(run_id=Run.objects.get(sync=world.scene.stream, state="running").pk)
    assert (told.code, told.property) == ("suspended", "Name")
    assert "type" in told.message
    assert Customer.objects.get(salesforce_id="later").name == ""
