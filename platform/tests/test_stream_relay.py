"""Messages of the inbox are passed on: all of them, each key in its order, nothing that says nothing new, and none lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from syncline.contract import Change, ConfigError, OutcomeUnknown
from syncline.inbox.models import InboxEvent
from syncline.ledger.messages import Outgoing
from syncline.ledger.models import ErrorGroup
from syncline.runs.models import Run, RunPart
from syncline.runs.start import start_run
from syncline.syncs.engine import MappingInvalid

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from streaming.world import World, reachable, settled  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    with reachable() as made:
        yield made


def test_each_message_arrives_once_with_its_key_its_sequence_and_a_name_of_its_own(world: World) -> None:
    world.relay()
    assert world.post({"key": "a", "n": 1}, {"key": "b", "n": 2}) == 204
    world.dispatch()
    with world.going():
        world.until(lambda: settled(2))
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
        world.until(lambda: settled(8))
    assert [one["on"] for one in world.topics.told("topic")] == [True, False, True, False]
    assert world.outgoing() == {"published": 4, "unchanged": 4}
    assert world.counted("unchanged") == 4


def late(world: World, number: int) -> None:
    """The event with this number is seen only now, as one is whose transaction took longer than those that began after it."""
    InboxEvent.objects.filter(pk=nth(number)).update(state="waiting")
    world.dispatch()


def nth(number: int) -> int:
    return InboxEvent.objects.order_by("pk").values_list("pk", flat=True)[number - 1]


@pytest.mark.parametrize(
    ("states", "at_once", "passed_on"),
    [
        ((True, False, True), False, [2, 1, 3]),  # readers leave 1 out, so 3 says something new
        ((True, False, True), True, [2, 1, 3]),
        ((True, False, False), False, [2, 1]),
        ((False, True, False, False), False, [1, 2, 4]),  # 3 went no further, so 2 counts
    ],
)
def test_an_event_that_comes_late_hides_none_that_says_something_new(
    world: World, states: tuple[bool, ...], at_once: bool, passed_on: list[int]
) -> None:
    sync = world.relay()
    behind = len(states) - 2
    for on in states[:behind]:
        world.post({"key": "a", "on": on})
    InboxEvent.objects.filter(pk=nth(behind)).update(state="done")
    world.post({"key": "a", "on": states[behind]})
    world.dispatch()
    if at_once:
        world.post({"key": "a", "on": states[-1]})
    late(world, behind)
    if not at_once:
        world.post({"key": "a", "on": states[-1]})
        world.dispatch()
    found = Outgoing.objects.filter(sync=sync).order_by("pk")
    assert [one.event_id for one in found if not one.same] == [nth(number) for number in passed_on]
    assert found.count() == len(states)


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
        world.until(lambda: settled(60), 60)
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
        world.until(lambda: settled(1))
    names = [m.id for log in world.topics.of("topic") for m in log]
    assert (len(names), len(set(names))) == (2, 1)


def test_a_refused_message_is_kept_with_its_reason_and_the_others_go_on(world: World) -> None:
    world.relay()
    world.post({"key": "a", "text": "x" * 20_000}, {"key": "b"})
    world.dispatch()
    with world.going():
        world.until(lambda: settled(2))
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
        world.until(lambda: settled(2))
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
        world.until(lambda: settled(1))


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
        world.until(lambda: settled(1))
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
