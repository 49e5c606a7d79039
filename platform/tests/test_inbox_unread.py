"""Deliveries whose answer does not depend on what they tell are stored and acknowledged first, and read by a worker."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DataError, OperationalError, connection
from django.test import override_settings
from django.utils import timezone
from syncline.connections.models import Connection, Registration
from syncline.contract import Capability, ConfigError
from syncline.inbox import addresses, intake, overview, reading, replay, retention, store, timed, unread
from syncline.inbox.models import Delivery, InboxEvent, WebhookAddress
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
    Registration.objects.update(connector="brisk")
    Connection.objects.update(connector="brisk")
    monkeypatch.setattr(inbox, "pull_ids", made.pulls)
    monkeypatch.setattr(inbox, "LINGER", 0)
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield made


def states() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("state", flat=True))


def asked(here: World) -> list[str]:
    return [id_ for _, _, ids in here.pulls.asked for id_ in ids]


def test_a_delivery_is_acknowledged_before_anybody_has_read_it_and_one_drain_brings_it_to_its_record(here: World) -> None:
    body = b'[ {"id":"7", "account":"2", "key":"k1"} ]'

    assert here.post(body, **{"Cookie": "session"}).status_code == 200

    (kept,) = Delivery.objects.all()
    assert (bytes(kept.body), kept.state, kept.headers["cookie"]) == (body, "stored", "•••")
    assert not InboxEvent.objects.exists()
    assert inbox.drain(5) is False
    assert here.pulls.asked == [(here.second.pk, "things", ["7"])]
    assert (states(), here.states()) == (["read"], ["done"])


def test_what_is_not_genuine_is_refused_all_the_same(here: World) -> None:
    assert here.post([event()], secret="not-the-secret").status_code == 403
    assert not Delivery.objects.exists()


def test_the_bell_rings_for_what_nobody_has_read(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr("syncline.background.ring", rung.append)
    monkeypatch.setattr(intake, "_bell", intake.Bell())
    for _ in range(3):
        here.post([event()])
    assert rung == ["inbox"]
    inbox.tick()
    assert rung == ["inbox"] * 2


def test_names_tell_repetitions_apart_within_a_reading_and_after_it(here: World) -> None:
    here.post([event("1", key="a"), event("2", key="b")])
    here.post([event("3", key="b"), event("4", key="c"), event("5", key="c")])
    here.post([event("6", key="a")])
    here.post([])
    assert inbox.read_stored() == 4
    here.post([event("7", key="c")])
    here.post([event("8"), event("9", key="c")])
    assert inbox.read_stored() == 2

    assert [one.remote_id for one in here.events()] == ["1", "2", "4", "8"]
    assert states() == ["read", "read", "repeated", "read", "repeated", "read"]


def test_events_keep_the_order_in_which_they_came(here: World) -> None:
    for number in range(7):
        here.post([event(f"{number}.{place}") for place in range(3)])
    inbox.read_stored()
    assert [one.remote_id for one in here.events()] == [f"{number}.{place}" for number in range(7) for place in range(3)]
    assert [one.position for one in here.events()] == [0, 1, 2] * 7
    assert [one.delivery_id for one in here.events()] == [
        pk for pk in sorted(d.pk for d in Delivery.objects.all()) for _ in "123"
    ]


@pytest.mark.parametrize("body", [b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe\x00", b"", b"[1]", b'[{"id": 5}]', b"null"])
def test_what_cannot_be_read_is_kept_with_its_reason_and_the_others_go_on(here: World, body: bytes) -> None:
    answers = [here.post(one).status_code for one in ([event("1")], body, [event("2")])]

    inbox.drain(5)

    assert answers == [200] * 3
    assert states() == ["read", "unreadable", "read"]
    assert [bool(one.cause) for one in Delivery.objects.order_by("pk")] == [False, True, False]
    assert asked(here) == ["1", "2"]


def test_a_connector_that_does_not_come_back_costs_one_delivery_however_quick_it_was(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven = timed.Pace()
    proven.quick = timed.PROVEN
    monkeypatch.setattr(reading, "PARSE_SECONDS", 0.05)
    monkeypatch.setitem(reading._paces, ("brisk", Capability.PARSE), proven)
    for body in ([event("1")], b"sleep 0.6", [event("2")]):
        here.post(body)

    inbox.drain(5)

    assert states() == ["read", "unreadable", "read"]
    assert "took too long" in Delivery.objects.get(state="unreadable").cause


@pytest.mark.parametrize("limit", ["number", "bytes", "seconds"])
def test_a_reading_is_bounded_and_the_next_one_goes_on_behind_it(
    here: World, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    for number in range(5):
        here.post([event(str(number))])
    size = Delivery.objects.latest("pk").size
    name, value = {"number": ("SIZES", (2, 1)), "bytes": ("BYTES", size + 1), "seconds": ("SECONDS", -1.0)}[limit]
    monkeypatch.setattr(unread, name, value)

    each = [inbox.read_stored() for _ in range(7)]

    assert each[:5] == ([1] * 5 if limit == "seconds" else [2, 2, 1, 0, 0])
    assert [one.remote_id for one in here.events()] == ["0", "1", "2", "3", "4"]


def test_what_a_missing_connector_would_read_waits_for_it_and_holds_up_nobody(here: World) -> None:
    here.post([event("1")])
    Registration.objects.update(connector="gone")
    assert inbox.drain(5) is False
    assert states() == ["stored"]
    Registration.objects.update(connector="brisk")
    inbox.drain(5)
    assert asked(here) == ["1"]


class Died(BaseException):
    """The process, as far as the reading can tell."""


def test_a_delivery_that_ends_its_readers_is_given_up_alone(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading.read

    def deadly(found: Any, request: Any, **more: Any) -> Any:
        if b"deadly" in request.body:
            raise Died
        return read(found, request, **more)

    monkeypatch.setattr(unread, "SIZES", (6, 2, 1, 1, 1))
    for id_ in ("1", "2", "3", "deadly", *"4567890"):
        here.post([event(id_)])
    with monkeypatch.context() as patched:
        patched.setattr(reading, "read", deadly)
        passed = [_survived() for _ in range(10)]

    # all six, two, two more, one; the deadly one three times, and given up; then as many as before
    assert passed == [False, True, False, True, False, False, False, True, True, True]
    assert states() == ["read"] * 3 + ["unreadable"] + ["read"] * 7
    assert "worker" in Delivery.objects.get(state="unreadable").cause
    inbox.drain(5)
    assert asked(here) == [*"1234567890"]
    assert next(replay.replay(Which(state="unreadable"))).events == 1


def _survived() -> bool:
    try:
        inbox.read_stored()
    except Died:
        return False
    return True


def test_what_the_database_refuses_stops_neither_other_deliveries_nor_other_addresses(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = world.connection(here.owner, "own", "9", connector="plain")
    slug = addresses.make(own).names.get().slug
    here.post([event("bad")])
    here.post([event("1")])
    here.post([event("2", account="")], slug=slug, secret="")
    settle = store.settle

    def refusing(place: Any, readings: Any) -> None:
        if any(one.remote_id == "bad" for read in readings.values() for one in read.events):
            raise DataError("no")
        settle(place, readings)

    monkeypatch.setattr(store, "settle", refusing)
    assert inbox.read_stored() == 1  # at the other address
    for _ in range(8):
        inbox.dispatch()

    assert sorted(asked(here)) == ["1", "2"]
    assert sorted(states()) == ["read", "read", "unreadable"]
    assert set(WebhookAddress.objects.values_list("readings", flat=True)) == {0}


def test_a_database_that_is_away_is_no_fault_of_a_delivery(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the server is gone")

    here.post([event("1")])
    with monkeypatch.context() as patched:
        patched.setattr(store, "settle", away)
        with pytest.raises(OperationalError):
            inbox.read_stored()
    inbox.drain(5)
    assert asked(here) == ["1"]


def test_what_was_never_read_cannot_be_replayed_and_does_not_grow_old(here: World) -> None:
    here.post([event("1")])
    with pytest.raises(ConfigError, match="waits to be read"):
        list(replay.replay(Which(delivery=Delivery.objects.get().pk)))
    Delivery.objects.update(received_at=timezone.now() - dt.timedelta(days=400))
    retention.forget_old()
    assert states() == ["stored"]
    inbox.read_stored()
    assert states() == ["read"]


def test_what_nobody_has_read_is_counted_for_who_may_see_it(here: World) -> None:
    here.post([event("1")])
    here.post(b"no json")
    root = User.objects.create_superuser("root")
    counted = [{name: overview.counts(root)[name] for name in ("stored", "unreadable", "waiting")}]
    inbox.read_stored()
    counted += [{name: overview.counts(root)[name] for name in ("stored", "unreadable", "waiting")}]
    assert counted == [{"stored": 2, "unreadable": 0, "waiting": 0}, {"stored": 0, "unreadable": 1, "waiting": 1}]
    assert overview.counts(User.objects.create_user("bob"))["stored"] == 0


@pytest.mark.django_db(transaction=True)
def test_one_reader_at_a_time_is_at_an_address(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_it, go_on = threading.Event(), threading.Event()
    settle = store.settle

    def slow(place: Any, readings: Any) -> None:
        at_it.set()
        assert go_on.wait(10)
        settle(place, readings)

    monkeypatch.setattr(store, "settle", slow)
    here.post([event("1")])
    found: list[int] = []
    other = threading.Thread(target=lambda: found.extend(_apart()))
    other.start()
    assert at_it.wait(10)
    here.post([event("2")])  # may be acknowledged meanwhile, and is not read before the first
    meanwhile: Sequence[int] = (inbox.read_stored(), WebhookAddress.objects.get().readings)
    go_on.set()
    other.join()

    assert (found, meanwhile) == ([1], (0, 1))
    assert inbox.read_stored() == 1
    assert [one.remote_id for one in here.events()] == ["1", "2"]


def _apart() -> list[int]:
    try:
        return [inbox.read_stored()]
    finally:
        connection.close()
