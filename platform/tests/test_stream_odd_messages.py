"""Messages of connectors that are careless with what they tell: kept, each by itself, and the stream goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from syncline.contract import Code, Message, RecordError, RemoteRecord, Status, Written
from syncline.ledger.messages import DeadLetter, Incoming

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from streaming import topic  # noqa: E402
from streaming.topic import Topics  # noqa: E402
from streaming.world import Register, World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
LONG = "p" * 250


@pytest.fixture
def world(db: None) -> Iterator[World]:
    topics = Topics(partitions=1)
    with installed(topics), override_settings(SYNCLINE_STREAM_LEASE_SECONDS=1.0):
        made = World(topics)
        yield made
        made.halt()


@pytest.mark.parametrize("sequence", [2**63, -(2**70)])
def test_a_sequence_larger_than_any_that_is_counted_stops_nothing(world: World, sequence: int) -> None:
    world.stream()
    world.topics.put("topic", Message("x", "a", sequence, body=b"no json"))
    world.topics.say("topic", "b", 1, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"b": "fine"})
    assert DeadLetter.objects.values_list("sequence", "message_id").get() == (None, "x")


def test_places_of_any_length_are_kept_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = topic._record

    def record(place: str, message: Message) -> RemoteRecord:
        return replace(plain(place, message), id=f"{LONG}\0{place}")

    monkeypatch.setattr(topic, "_record", record)
    world.stream()
    for number in (1, 2):
        world.topics.say("topic", f"bad{number}", number, name="refused")
        world.topics.say("topic", f"good{number}", number, name="fine")
    with world.going():
        world.until(lambda: len(world.here()) == 2)
    assert DeadLetter.objects.count() == 2
    assert len(set(Incoming.objects.values_list("remote_id", flat=True))) == 2


def test_a_writer_that_names_an_endless_field_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Register, change: Any) -> Written:
        return Written(change.token, Status.REJECTED, error=RecordError(Code.INVALID_VALUE, "No.", LONG))

    monkeypatch.setattr(Register, "_one", refuse)
    world.stream()
    world.topics.say("topic", "a", 1, name="any")
    with world.going():
        world.until(DeadLetter.objects.exists)
    assert DeadLetter.objects.get().property == LONG[:200]
