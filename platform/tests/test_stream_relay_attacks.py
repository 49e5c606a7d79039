"""What is passed on when it was refused before, when two would pass it on at once, and when it is large, deep or oddly named."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from django.test import Client
from syncline.inbox.models import InboxEvent
from syncline.ledger.messages import Outgoing
from syncline.runs import inbox
from syncline.runs.models import RunPart
from syncline.runs.stream import carrying, claiming, relay
from syncline.syncs.models import Sync
from syncline.syncs.publish import publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from streaming.world import World, reachable, settled  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    with reachable() as made:
        yield made


def test_what_was_refused_or_left_out_before_says_something_new_when_it_comes_again(world: World) -> None:
    sync = world.relay(filter='remote_id != "b"')
    told = {"key": "a", "text": "x" * 20_000}, {"key": "b"}
    world.post(*told)
    world.dispatch()
    world.post(*told)  # queued before it is known what becomes of the first ones
    world.dispatch()
    with world.going():
        world.until(lambda: settled(4))
    world.topics.limit = 100_000
    Sync.objects.filter(pk=sync.pk).update(filter="")
    publish(sync, world.owner)
    world.post(*told)
    world.dispatch()
    with world.going():
        world.until(lambda: settled(6))
    assert sorted(str(one["key"]) for one in world.topics.told("topic")) == ["a", "b"]


def test_what_waits_as_the_same_as_a_refused_one_is_tried_by_itself(world: World) -> None:
    world.relay()
    told = {"key": "a", "text": "x" * 20_000}
    world.post(told)
    world.dispatch()

    def again(_changes: object) -> None:
        world.topics.before_push = lambda _changes: None
        world.post(told)
        world.dispatch()

    def enough(_changes: object) -> None:
        world.topics.limit, world.topics.after_push = 100_000, lambda _changes: None

    world.topics.before_push, world.topics.after_push = again, enough
    with world.going():
        world.until(lambda: settled(2))
    assert world.outgoing() == {"refused": 1, "published": 1}


def test_the_same_words_about_two_objects_with_one_id_are_two_messages(world: World) -> None:
    world.relay()
    world.post({"key": "a", "object": "one"}, {"key": "a", "object": "two"})
    inbox.read_stored()
    assert InboxEvent.objects.update(data={"n": 1}) == 2
    world.dispatch()
    with world.going():
        world.until(lambda: settled(2))
    assert world.outgoing() == {"published": 2}


def test_a_key_of_any_length_is_passed_on(world: World) -> None:
    world.relay()
    key, world.topics.limit = secrets.token_hex(10_000), 100_000
    for number in (1, 1, 2):
        world.post({"key": key, "n": number})
        world.dispatch()
    with world.going():
        world.until(lambda: settled(3))
    assert world.outgoing() == {"published": 2, "unchanged": 1}


def test_a_relay_that_stood_still_longer_than_its_lease_sends_nothing_any_more(world: World) -> None:
    """What it holds in memory was sent by another meanwhile, and younger messages of the same keys after it."""
    world.relay()
    for number in range(2):
        world.post({"key": "a", "n": number})
    world.dispatch()
    world.keep()
    claim = next(c for c in iter(lambda: claiming.claim("old"), None) if Outgoing.objects.filter(shard=c.part.partition).exists())
    rows = relay._rows
    stopped = threading.Event()

    def stand_still(job: object, ids: Sequence[int]) -> object:
        found = rows(job, ids)  # type: ignore[arg-type]
        RunPart.objects.filter(pk=claim.part.pk).update(fence=1000)
        job.lease._until = 0.0  # type: ignore[attr-defined]
        stopped.set()
        return found

    with mock.patch.object(relay, "_rows", stand_still):
        carrying.carry_out(claim, threading.Event(), threading.Event())
    assert stopped.is_set()
    assert world.topics.told("topic") == []


def test_a_new_mapping_sends_nothing_beside_what_the_old_one_still_sends(world: World) -> None:
    sync = world.relay()
    world.post({"key": "a", "n": 1})
    world.dispatch()
    sending, go_on = threading.Event(), threading.Event()

    def hang(_changes: object) -> None:
        world.topics.before_push = lambda _changes: None
        sending.set()
        assert go_on.wait(10)

    world.topics.before_push = hang
    with world.going():
        world.until(sending.is_set)
        Sync.objects.filter(pk=sync.pk).update(filter='remote_id != "z"')
        publish(sync, world.owner)
        world.post({"key": "a", "n": 2})
        world.dispatch()
        world.keep()
        shard = str(Outgoing.objects.values_list("shard", flat=True).distinct().get())
        free = {"0", "1", "2", "3"} - {shard}
        end = time.monotonic() + 5
        while free and time.monotonic() < end:
            if (claim := claiming.claim("other")) is not None:
                free.remove(claim.part.partition)
        assert not free
        go_on.set()
        go_on.set()
        world.until(lambda: settled(2))
    numbers = [one["n"] for one in world.topics.told("topic")]
    assert numbers == [1, 1, 2], "the old one's is sent again, because nobody noted it, and then the younger one"


def test_of_large_messages_only_some_are_in_memory_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.relay()
    world.post(*({"key": "a", "n": n, "text": secrets.token_hex(400)} for n in range(7)))
    world.dispatch()
    lots: list[int] = []
    world.topics.before_push = lambda changes: lots.append(len(changes))
    monkeypatch.setattr(relay, "BYTES", 1000)
    began = time.monotonic()
    with world.going():
        world.until(lambda: settled(7))
    assert lots == [2, 2, 2, 1]
    assert [one["n"] for one in world.topics.told("topic")] == list(range(7))
    assert time.monotonic() - began < 3 * relay.IDLE, "what waits does not wait for a bell"


@pytest.mark.parametrize("depth", [300, 985])
def test_a_message_nested_deeper_than_our_json_library_goes_stops_nothing(world: World, depth: int) -> None:
    world.relay()
    deep = "[" * depth + "]" * depth
    address = f"/hooks/{world.slug}/"
    for body in (f'[{{"key": "deep", "d": {deep}}}]', '[{"key": "b"}]'):
        assert Client().post(address, body, content_type="application/json", secure=True).status_code == 204
    for _ in range(8):
        world.dispatch()
    with world.going():
        world.until(lambda: "b" in {one["key"] for one in world.topics.told("topic")})
        world.until(lambda: not Outgoing.objects.filter(state="waiting").exists())
