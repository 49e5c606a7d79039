"""Events become pulls of their records: once each, in order, coalesced, patient with what cannot be done now."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import override_settings
from django.utils import timezone
from syncline.connections.models import Connection
from syncline.contract import ConfigError
from syncline.inbox import replay, retention
from syncline.inbox.models import Delivery, InboxEvent, InboxKey, Refusal
from syncline.inbox.replay import Which
from syncline.runs import inbox

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor, world  # noqa: E402
from hooking.world import World, event  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = world.build()
    monkeypatch.setattr(inbox, "pull_ids", made.pulls)
    monkeypatch.setattr(inbox, "LINGER", 0)
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield made


def due() -> None:
    """As if every pause were over."""
    InboxEvent.objects.filter(state="waiting").update(not_before=timezone.now() - dt.timedelta(seconds=1))


def test_events_of_one_record_become_one_pull_and_records_of_one_object_one_call(here: World) -> None:
    here.post([event("7"), event("8"), event("7"), event("9", object="others"), event("7", account="2")])

    assert inbox.drain(5) is False

    assert sorted(here.pulls.asked) == [
        (here.first.pk, "others", ["9"]),
        (here.first.pk, "things", ["7", "8"]),
        (here.second.pk, "things", ["7"]),
    ]
    assert set(here.states()) == {"done"}
    assert inbox.dispatch() == 0


def test_a_merger_asks_for_all_its_records_and_other_kinds_for_their_own(here: World) -> None:
    here.post([event("1", kind="merged", others=["2", "3"]), event("4", kind="deleted"), event("5", others=["6"])])
    inbox.drain(5)
    assert here.pulls.asked == [(here.first.pk, "things", ["1", "2", "3", "4", "5"])]


def test_what_nobody_pulls_is_kept_as_ignored(here: World) -> None:
    here.pulls.syncs = 0
    here.post([event()])
    inbox.drain(5)
    assert here.states() == ["ignored"]


def test_unknown_and_unroutable_events_have_no_effect(here: World) -> None:
    here.post([event(kind="teleported"), event(account="nobody")])
    inbox.drain(5)
    assert (here.states(), here.pulls.asked) == (["unknown", "unroutable"], [])


def test_what_cannot_be_done_now_is_tried_again_after_growing_pauses_and_given_up_at_last(here: World) -> None:
    here.pulls.refusal = ConfigError("A plan is being made.")
    here.post([event()])
    pauses = []
    for _ in range(inbox.MOST_ATTEMPTS):
        inbox.dispatch()
        assert inbox.dispatch() == 0, "it waits"
        (one,) = here.events()
        pauses.append(round((one.not_before - timezone.now()).total_seconds()))
        due()

    assert pauses[:-1] == [round(pause) for pause in inbox.PAUSES]
    assert (one.state, one.attempts, one.last_error) == ("dead", 8, "A plan is being made.")
    here.pulls.refusal = None
    assert inbox.dispatch() == 0


def test_an_error_of_ours_is_an_attempt_too_and_tells_its_kind_only(here: World) -> None:
    here.pulls.refusal = KeyError("canary")
    here.post([event()])
    inbox.dispatch()
    (one,) = here.events()
    assert (one.state, one.attempts) == ("waiting", 1)
    assert one.last_error == "KeyError; look into the log of the worker."


def test_a_younger_event_never_overtakes_one_of_the_same_record(here: World) -> None:
    here.pulls.refusal = ConfigError("Not now.")
    here.post([event("7"), event("8")])
    inbox.dispatch()
    here.pulls.refusal = None
    here.post([event("7")])  # due at once, unlike the two that wait out their pause

    inbox.dispatch()

    assert here.pulls.asked == [(here.first.pk, "things", ["7"])]
    assert [(one.remote_id, one.state) for one in here.events()] == [("7", "done"), ("8", "waiting"), ("7", "done")]


def test_a_younger_events_failure_spends_no_attempt_of_an_older_one(here: World) -> None:
    here.pulls.refusal = ConfigError("Not now.")
    for _ in range(3):
        here.post([event("7")])
        inbox.dispatch()
    assert [one.attempts for one in here.events()] == [1, 1, 1]


@pytest.mark.parametrize("why", ["inactive owner", "missing", "reconnect", "settings"])
def test_events_of_a_parked_connection_wait_and_spend_no_attempt(here: World, why: str) -> None:
    if why == "inactive owner":
        User.objects.update(is_active=False)
    else:
        Connection.objects.update(state=why)
    here.post([event()])
    assert inbox.drain(5) is False
    assert [(one.state, one.attempts) for one in here.events()] == [("waiting", 0)]
    User.objects.update(is_active=True)
    Connection.objects.update(state="ok")
    inbox.drain(5)
    assert here.states() == ["done"]


def test_a_batch_takes_only_so_many_records_and_the_drain_takes_all(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RECORDS", 2)
    here.post([event(str(number)) for number in (1, 2, 1, 3, 4, 5)])
    inbox.drain(5)
    assert [ids for _, _, ids in here.pulls.asked] == [["1", "2"], ["3", "4"], ["5"]]


def test_one_connections_flood_does_not_keep_another_waiting(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RECORDS", 2)
    here.post([*(event(str(number)) for number in range(20)), event("1", account="2")])
    inbox.dispatch()
    assert here.second.pk in {connection_id for connection_id, _, _ in here.pulls.asked}


def test_the_tick_rings_for_what_waits_and_not_for_pauses(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    here.post([event()])
    monkeypatch.setattr("syncline.background.ring", rung.append)
    inbox.tick()
    assert rung == ["inbox"]
    InboxEvent.objects.update(not_before=timezone.now() + dt.timedelta(minutes=1))
    inbox.tick()
    assert rung == ["inbox"]


@pytest.mark.django_db(transaction=True)
def test_two_workers_are_never_at_the_same_object_of_a_connection(here: World) -> None:
    here.post([event("7")])
    seen: list[int] = []

    def other() -> None:
        here.post([event("7")])
        here.pulls.meanwhile = None
        seen.append(inbox.dispatch())
        connections.close_all()

    def meanwhile(_connection_id: int) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    here.pulls.meanwhile = meanwhile
    inbox.dispatch()
    assert seen == [0]
    assert here.states() == ["done", "waiting"]


# Replay


def asked(which: Which) -> tuple[int, int]:
    made = list(replay.replay(which))
    return sum(one.events for one in made), sum(one.waiting for one in made)


def test_a_delivery_is_replayed_from_its_bytes_whatever_its_names(here: World) -> None:
    here.post([event("7", key="a"), event("8", key="b")])
    inbox.drain(5)
    here.app.client_secret = ""  # nothing is verified anew
    here.app.save()

    assert asked(Which(delivery=Delivery.objects.get().pk)) == (2, 2)

    inbox.drain(5)
    assert here.pulls.asked == [(here.first.pk, "things", ["7", "8"])] * 2
    assert [(one.replay, one.state) for one in here.events()] == [(False, "done")] * 2 + [(True, "done")] * 2
    assert InboxKey.objects.count() == 2


def test_unroutable_events_are_routed_again(here: World) -> None:
    here.post([event("7", account="3"), event("8", account="4"), event("9")])
    world.connection(here.owner, "third", "3", here.app)

    assert asked(Which(state="unroutable")) == (2, 1)

    assert [(one.remote_id, one.state) for one in here.events()] == [
        ("7", "replayed"),
        ("8", "replayed"),
        ("9", "waiting"),
        ("7", "waiting"),
        ("8", "unroutable"),
    ]


def test_of_an_event_that_concerned_several_connections_only_the_one_chosen_is_replayed(here: World) -> None:
    again = world.connection(here.owner, "again", "1", here.app)
    here.post([event("7"), event("8")])
    InboxEvent.objects.update(state="dead")

    assert asked(Which(state="dead", connection=again.pk)) == (2, 2)

    assert {one.connection for one in here.events(replay=True)} == {again}
    assert [one.state for one in here.events(connection=here.first)] == ["dead", "dead"]


def test_what_waits_or_was_replayed_is_not_replayed(here: World) -> None:
    here.post([event()])
    assert asked(Which()) == (0, 0)
    InboxEvent.objects.update(state="replayed")
    assert asked(Which()) == (0, 0)


def test_a_range_of_time_and_a_kind_choose_what_is_replayed(here: World) -> None:
    here.post([event("1"), event("2", kind="deleted")])
    here.post([event("3")])
    InboxEvent.objects.update(state="dead")
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    for hours, one in enumerate(here.events()):
        InboxEvent.objects.filter(pk=one.pk).update(received_at=noon + dt.timedelta(hours=hours))

    assert asked(Which(since=noon, until=noon + dt.timedelta(hours=1))) == (1, 1)
    assert asked(Which(kind="deleted")) == (1, 1)
    assert [one.remote_id for one in here.events(replay=True)] == ["1", "2"]


def test_a_delivery_that_could_not_be_read_is_read_by_a_newer_connector(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here.post(b"7 changed")
    assert asked(Which(state="unreadable")) == (0, 0)
    assert Delivery.objects.get().state == "unreadable"

    from syncline.contract.webhooks import Event, EventKind
    from syncline.registry import connector

    newer = [Event(EventKind.CHANGED, account="1", object_type="things", remote_id="7")]
    monkeypatch.setattr(connector("signed").call, "parse", lambda request: newer, raising=False)
    assert asked(Which(state="unreadable")) == (1, 1)
    assert (Delivery.objects.get().state, Delivery.objects.get().cause) == ("read", "")


def test_a_delivery_that_is_gone_is_said_to_be(here: World) -> None:
    with pytest.raises(ConfigError, match="no delivery 99"):
        list(replay.replay(Which(delivery=99)))


# Retention


def age(days: int) -> None:
    before = timezone.now() - dt.timedelta(days=days)
    Delivery.objects.update(received_at=before)
    InboxEvent.objects.update(received_at=before)
    InboxKey.objects.update(at=before)
    Refusal.objects.update(day=before.date())


def kept() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in (Delivery, InboxEvent, InboxKey, Refusal)}


@pytest.mark.parametrize(
    ("days", "state", "stays"),
    [
        (29, "done", True),
        (31, "done", False),
        (31, "ignored", False),
        (31, "dead", True),
        (89, "unroutable", True),
        (91, "dead", False),
        (400, "waiting", True),
    ],
)
def test_old_deliveries_go_and_what_led_nowhere_stays_longer(here: World, days: int, state: str, stays: bool) -> None:
    here.post([event(key="a")])
    InboxEvent.objects.update(state=state)
    age(days)
    retention.forget_old()
    assert kept() == {"Delivery": int(stays), "InboxEvent": int(stays), "InboxKey": 0, "Refusal": 0}


def test_a_delivery_that_could_not_be_read_stays_as_long_as_what_was_given_up(here: World) -> None:
    here.post(b"no json")
    age(89)
    retention.forget_old()
    assert Delivery.objects.count() == 1
    age(91)
    retention.forget_old()
    assert Delivery.objects.count() == 0


def test_names_are_known_for_a_week_and_refusals_for_three_months(here: World) -> None:
    here.post([event(key="a")])
    here.post([event()], secret="")
    age(6)
    retention.forget_old()
    assert (kept()["InboxKey"], kept()["Refusal"]) == (1, 1)
    age(8)
    retention.forget_old()
    assert (kept()["InboxKey"], kept()["Refusal"]) == (0, 1)


def test_removing_goes_in_small_steps(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(3):
        here.post([event(key=str(number))])
    InboxEvent.objects.update(state="done")
    age(40)
    assert [retention.forget_old() for _ in range(3)] == [2, 1, 0]


def test_an_event_is_settled_with_the_parts_it_led_to_or_not_at_all(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(point: str) -> None:
        if point == "inbox.led":
            assert here.states() == ["done"]
            raise SystemExit

    monkeypatch.setattr("syncline.runs.crash.point", die)
    here.post([event()])
    with pytest.raises(SystemExit):
        inbox.dispatch()
    assert here.states() == ["waiting"]
