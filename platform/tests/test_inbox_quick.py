"""What makes an intake quick takes nothing away: addresses change in time, lines are looked after, stuck calls are left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client, override_settings
from syncline.connections.models import ConnectorState, Registration
from syncline.contract import Capability
from syncline.inbox import addresses, prepared, reading, timed
from syncline.inbox.models import AddressName, WebhookAddress
from syncline.inbox.remembered import MOST, Remembered

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor, world  # noqa: E402
from hooking.world import World, event  # noqa: E402

NEW = "another-s3cr3t-of-the-vendor"


STUCK = timed.Stuck()


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def here(db: None) -> World:
    return world.build()


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second later."""
    now = time.monotonic
    monkeypatch.setattr("syncline.inbox.remembered.time.monotonic", lambda: now() + addresses.REMEMBERED + 0.01)


def by_another_process(change: str) -> None:
    if change == "off":
        WebhookAddress.objects.update(enabled=False)
    elif change == "connector off":
        ConnectorState.objects.create(key="signed", enabled=False)
    elif change == "secret":
        address = Registration.objects.get()
        address.client_secret = NEW
        address.save()
    else:
        AddressName.objects.all().delete()


@pytest.mark.parametrize(("change", "status"), [("off", 503), ("connector off", 503), ("secret", 403), ("name gone", 404)])
def test_what_another_process_changes_holds_within_a_second(
    here: World, monkeypatch: pytest.MonkeyPatch, change: str, status: int
) -> None:
    assert addresses.REMEMBERED <= 1
    assert here.post([event()]).status_code == 200
    by_another_process(change)
    soon(monkeypatch)
    assert here.post([event()]).status_code == status
    assert len(here.events()) == 1


def test_an_exchanged_secret_holds_within_a_second(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here.post([event()])
    by_another_process("secret")
    soon(monkeypatch)
    assert here.post([event()], secret=NEW).status_code == 200


def test_unknown_names_are_not_remembered_and_known_ones_only_so_many() -> None:
    kept: Remembered[int] = Remembered(seconds=60)
    for number in range(3 * MOST):
        assert kept.get(str(number), lambda n=number: n) == number  # type: ignore[misc]
        assert kept.get(f"no {number}", lambda: None) is None
        assert len(kept._known) <= MOST
    assert kept.get("no 1", lambda: 7) == 7
    assert kept.get("no 1", lambda: 8) == 7


@pytest.mark.django_db
def test_deliveries_meet_no_middleware_but_the_first(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def met(*_: Any) -> None:
        raise AssertionError("a later middleware was met")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", met)
    told = here.post([event()])
    assert told.status_code == 200
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Content-Security-Policy"] == "default-src 'none'"


@override_settings(SECURE_SSL_REDIRECT=True)
def test_what_comes_without_https_is_still_sent_there(here: World) -> None:
    assert Client().post(f"/hooks/{here.slug}/", b"[]", content_type="a/b").status_code == 301
    assert Client().post(f"/hooks/{here.slug}/", b"[]", content_type="a/b", secure=True).status_code == 403


@pytest.mark.parametrize("path", ["/admin/hooks/abc/", "/hooks/", "/hooks/a/b/", "/hooks/a%0A", "//hooks/abc/"])
def test_other_paths_go_the_way_of_all(db: None, path: str) -> None:
    assert "default-src 'none'" not in Client().post(path, secure=True).get("Content-Security-Policy", "")


def end_the_line() -> Any:
    """As a restart of PostgreSQL does; gives what is left of the connection."""
    raw, other = connection.connection, connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])
    other.close()
    connection.close_if_unusable_or_obsolete()  # as at the beginning of each request; the test's client leaves it out
    return raw


@pytest.mark.django_db(transaction=True)
def test_a_line_that_the_server_ended_costs_no_delivery() -> None:
    here = world.build()
    assert here.post([event(key="a")]).status_code == 200
    raw = end_the_line()
    assert here.post([event(key="b")]).status_code == 200
    assert connection.connection is not raw
    assert [one.key for one in here.events()] == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_the_host_is_healthy_when_postgresql_is_back() -> None:
    assert Client().get("/healthz", secure=True).status_code == 200
    end_the_line()
    assert Client().get("/healthz", secure=True).status_code == 200


def test_behind_a_pooler_nothing_is_prepared(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        (before,) = cursor.fetchone()
        prepared.row("SELECT 1 AS told_a_pooler", {})
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (before,)


def test_calls_are_made_by_a_thread_that_stands_ready() -> None:
    made = {timed.in_time(threading.get_ident, 5, STUCK) for _ in range(20)}
    assert len(made) == 1
    assert threading.get_ident() not in made


def test_a_call_that_raises_leaves_its_thread_to_the_next() -> None:
    before = timed.in_time(threading.get_ident, 5, STUCK)
    with pytest.raises(ZeroDivisionError):
        timed.in_time(lambda: 1 / 0, 5, STUCK)
    assert timed.in_time(threading.get_ident, 5, STUCK) == before


def test_a_thread_that_was_left_makes_no_more_calls_and_ends() -> None:
    gate, begun = threading.Event(), threading.Event()
    stuck: list[threading.Thread] = []

    def wait() -> None:
        stuck.append(threading.current_thread())
        begun.set()
        gate.wait(10)

    with pytest.raises(timed.TookTooLong):
        timed.in_time(wait, 0.05, STUCK)
    assert STUCK.number == 1
    assert timed.in_time(threading.get_ident, 5, STUCK) != stuck[0].ident
    gate.set()
    stuck[0].join(5)
    assert not stuck[0].is_alive()
    assert STUCK.number == 0


def proven() -> timed.Pace:
    pace = timed.Pace()
    for _ in range(timed.PROVEN):
        assert pace.call(threading.get_ident, 5) != threading.get_ident()
    return pace


def test_who_was_quick_often_enough_is_called_at_once() -> None:
    assert proven().call(threading.get_ident, 5) == threading.get_ident()


def test_who_was_slow_once_or_took_too_long_is_watched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "QUICK", 0.05)
    pace = proven()
    pace.call(lambda: time.sleep(0.06), 5)
    assert pace.call(threading.get_ident, 5) != threading.get_ident()
    with pytest.raises(timed.TookTooLong):
        pace.call(lambda: time.sleep(0.3), 0.1)
    assert pace.quick == 0


def test_one_that_hangs_holds_one_thread_and_the_others_are_watched() -> None:
    pace, gate, begun = proven(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait(10)

    hanging = threading.Thread(target=pace.call, args=(hang, 0.05))
    hanging.start()
    assert begun.wait(5)
    assert pace.call(threading.get_ident, 5) != threading.get_ident()
    with pytest.raises(timed.TookTooLong):
        pace.call(lambda: gate.wait(10), 0.05)
    assert hanging.is_alive()
    gate.set()
    hanging.join(5)


def test_errors_of_a_quick_call_come_through_and_leave_it_quick() -> None:
    pace = proven()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            pace.call(lambda: 1 / 0, 5)
    assert pace.call(threading.get_ident, 5) == threading.get_ident()


def test_a_large_body_is_read_under_the_limit_even_by_who_is_quick(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reading._paces, ("signed", Capability.PARSE), proven())
    monkeypatch.setattr(reading, "PARSE_SECONDS", 0.05)
    begun = time.monotonic()
    assert here.post(b"sleep 0.5" + b" " * reading.SMALL).status_code == 202
    assert time.monotonic() - begun < 0.4
