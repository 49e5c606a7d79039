"""Messages of the inbox are passed on: all of them, each key in its order, nothing that says nothing new, and none lost."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from django.test import override_settings
from syncline.contract import Change, ConfigError, OutcomeUnknown
from syncline.inbox.models import InboxEvent
from syncline.ledger.messages import Outgoing
from syncline.ledger.models import ErrorGroup
from syncline.runs import inbox
from syncline.runs.models import Run, RunPart
from syncline.runs.start import start_run
from syncline.runs.stream import carrying, claiming, relay
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import Sync
from syncline.syncs.publish import publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from streaming.topic import Topics  # noqa: E402
from streaming.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    topics = Topics()
    with installed(topics), override_settings(SYNCLINE_PUBLIC_URL="https://sync.example.com", ALLOWED_HOSTS=["*"]):
        made = World(topics)
        yield made
        made.halt()


def settled(world: World, number: int) -> bool:
    return Outgoing.objects.exclude(state="waiting").count() == number


def test_each_message_arrives_once_with_its_key_its_sequence_and_a_name_of_its_own(world: World) -> None:
    world.relay()
    assert world.post({"key": "a", "n": 1}, {"key": "b", "n": 2}) == 204
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 2))
    messages = sorted((m for log in world.topics.of("topic") for m in log), key=lambda m: m.key or "")
    events = {e.remote_id: e.pk for e in InboxEvent.objects.all()}
    assert [(m.key, m.sequence, m.id) for m in messages] == [
        (key, events[key], f"{world.system.pk}:{events[key]}") for key in ("a", "b")
    ]
    assert messages[0].type == "logs.thing.message"
    assert sorted(Outgoing.objects.values_list("state", "remote_id")) == sorted(
        ("published", f"{n}:{i}") for n, log in enumerate(world.topics.of("topic")) for i, _ in enumerate(log)
    )
    assert world.counted("created") == 2


def test_what_says_the_same_as_the_one_before_goes_no_further_and_what_comes_back_does(world: World) -> None:
    world.relay()
    for on in (True, True, False, False, True):
        world.post({"key": "a", "on": on})
        world.dispatch()
    world.post({"key": "a", "on": True}, {"key": "a", "on": False}, {"key": "a", "on": False})
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 8))
    assert [one["on"] for one in world.topics.told("topic")] == [True, False, True, False]
    assert world.outgoing() == {"published": 4, "unchanged": 4}
    assert world.counted("unchanged") == 4


def test_the_messages_of_a_key_keep_their_order_however_often_a_lot_fails(world: World) -> None:
    world.relay()
    failures = iter(range(5))

    def fail(_changes: Sequence[Change]) -> None:
        if next(failures, None) is not None:
            raise OutcomeUnknown("The broker went away.")

    world.topics.after_push = fail
    for number in range(30):
        world.post({"key": "a", "n": number}, {"key": "b", "n": number})
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 60), 60)
    for key in ("a", "b"):
        sequences = [m.sequence or 0 for log in world.topics.of("topic") for m in log if m.key == key]
        first = sorted(set(sequences), key=sequences.index)
        assert first == sorted(first), "none came for the first time before an older one"
        assert len(first) == 30
    assert len({m.id for log in world.topics.of("topic") for m in log}) == 60


def test_a_message_without_an_answer_is_sent_again_under_its_name(world: World) -> None:
    world.relay()
    world.post({"key": "a"})
    world.dispatch()
    world.topics.unanswered = {str(InboxEvent.objects.get().pk)}
    with world.going():
        world.until(lambda: settled(world, 1))
    names = [m.id for log in world.topics.of("topic") for m in log]
    assert (len(names), len(set(names))) == (2, 1)


def test_a_refused_message_is_kept_with_its_reason_and_the_others_go_on(world: World) -> None:
    world.relay()
    world.post({"key": "a", "text": "x" * 20_000}, {"key": "b"})
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 2))
    refused = Outgoing.objects.get(state="refused")
    assert (refused.key, refused.code) == ("a", "too_long")
    assert "larger than the broker takes" in refused.reason
    assert [one["key"] for one in world.topics.told("topic")] == ["b"]
    assert ErrorGroup.objects.get().count == 1


def test_the_filter_leaves_messages_out(world: World) -> None:
    world.relay(filter='remote_id != "a"')
    world.post({"key": "a"}, {"key": "b"})
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 2))
    assert world.outgoing() == {"published": 1, "excluded": 1}


def test_while_the_broker_is_away_everything_waits_and_the_reason_is_shown(world: World) -> None:
    sync = world.relay()
    world.topics.gone = True
    world.post({"key": "a"})
    world.dispatch()
    with world.going():
        world.until(lambda: RunPart.objects.filter(last_error="The broker cannot be reached.").exists())
    assert world.outgoing() == {"waiting": 1}
    assert Run.objects.get(sync=sync).state == Run.State.RUNNING
    world.topics.gone = False
    with world.going():
        world.until(lambda: settled(world, 1))


def test_events_of_other_connections_are_not_passed_on(world: World) -> None:
    world.relay(source=world.broker)
    world.post({"key": "a"})
    world.dispatch()
    assert (world.outgoing(), InboxEvent.objects.get().state) == ({}, "ignored")


def test_an_event_that_nobody_passed_on_is_ignored_and_passed_on_when_replayed_later(world: World) -> None:
    from syncline.inbox import replay

    world.post({"key": "a"})
    world.dispatch()
    assert InboxEvent.objects.get().state == "ignored"
    world.relay()
    list(replay.replay(replay.Which(state="ignored")))
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 1))
    assert len(world.topics.told("topic")) == 1


def test_messages_go_to_logs_only_and_continuously_and_say_whose_they_are(world: World) -> None:
    for options, said in (
        ({"continuous": False}, "Messages are passed on continuously"),
        ({"source": None}, "It is not said whose messages"),
        ({"direction": "pull"}, "which can only be pushed"),
    ):
        with pytest.raises(MappingInvalid, match=said):
            world.relay(**options)


def test_it_runs_by_itself_and_is_not_started_by_hand(world: World) -> None:
    sync = world.relay()
    with pytest.raises(ConfigError, match="runs by itself"):
        start_run(sync)


def test_what_was_refused_or_left_out_before_says_something_new_when_it_comes_again(world: World) -> None:
    sync = world.relay(filter='remote_id != "b"')
    told = {"key": "a", "text": "x" * 20_000}, {"key": "b"}
    world.post(*told)
    world.dispatch()
    world.post(*told)  # queued before it is known what becomes of the first ones
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 4))
    world.topics.limit = 100_000
    Sync.objects.filter(pk=sync.pk).update(filter="")
    publish(sync, world.owner)
    world.post(*told)
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 6))
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
        world.until(lambda: settled(world, 2))
    assert world.outgoing() == {"refused": 1, "published": 1}


def test_the_same_words_about_two_objects_with_one_id_are_two_messages(world: World) -> None:
    world.relay()
    world.post({"key": "a", "object": "one"}, {"key": "a", "object": "two"})
    inbox.read_stored()
    assert InboxEvent.objects.update(data={"n": 1}) == 2
    world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 2))
    assert world.outgoing() == {"published": 2}


def test_a_key_of_any_length_is_passed_on(world: World) -> None:
    world.relay()
    key, world.topics.limit = secrets.token_hex(10_000), 100_000
    for number in (1, 1, 2):
        world.post({"key": key, "n": number})
        world.dispatch()
    with world.going():
        world.until(lambda: settled(world, 3))
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
        world.until(lambda: settled(world, 2))
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
        world.until(lambda: settled(world, 7))
    assert lots == [2, 2, 2, 1]
    assert [one["n"] for one in world.topics.told("topic")] == list(range(7))
    assert time.monotonic() - began < 3 * relay.IDLE, "what waits does not wait for a bell"
