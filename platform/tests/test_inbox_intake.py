"""What a vendor delivers is verified, committed, then acknowledged; each bad input has its outcome and loses nothing."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import OperationalError, connection, transaction
from django.test import Client, RequestFactory, override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothetically
from hypothesis import strategies as st
from syncline.connections.models import Connection, ConnectorState, Registration
from syncline.contract import Capability, ConfigError
from syncline.contract.webhooks import Answer
from syncline.inbox import addresses, intake, prepared, reading, store, timed, views
from syncline.inbox.models import Delivery, InboxEvent, InboxKey, Refusal
from syncline.runs import inbox

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor, world  # noqa: E402
from hooking.world import World, event  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def here(db: None) -> World:
    return world.build()


def refused() -> dict[str, int]:
    return dict(Refusal.objects.values_list("cause", "count"))


def test_a_genuine_delivery_is_kept_byte_for_byte_and_led_to_its_account(here: World) -> None:
    body = b'[ {"id":"7", "account":"2", "key":"k1"} ]'

    told = here.post(body, query="?a=b%2Fc&d", **{"Cookie": "session", "X-Kept": "yes"})

    (kept,), (made,) = Delivery.objects.all(), here.events()
    assert (told.status_code, told.content) == (200, b"1")
    assert (bytes(kept.body), kept.url) == (body, f"{world.PUBLIC}/hooks/{here.slug}/?a=b%2Fc&d")
    assert (kept.headers["cookie"], kept.headers["x-kept"]) == ("•••", "yes")
    assert (made.connection, made.state, made.remote_id, made.key) == (here.second, "waiting", "7", "k1")


def test_an_event_goes_to_every_connection_of_its_account_and_to_no_other(here: World) -> None:
    again = world.connection(here.owner, "again", "1", here.app)
    world.connection(here.owner, "of no app", "1")
    world.connection(here.owner, "of another connector", "1", connector="plain")

    here.post([event(account="1"), event(account="nobody"), event(account="")])

    assert [(one.position, one.connection, one.state) for one in here.events()] == [
        (0, here.first, "waiting"),
        (0, again, "waiting"),
        (1, None, "unroutable"),
        (2, None, "unroutable"),
    ]


def test_a_connections_own_address_needs_no_account(here: World) -> None:
    own = world.connection(here.owner, "own", "9", connector="plain")
    slug = addresses.make(own).names.get().slug

    assert here.post([event(account="")], slug=slug, secret="").status_code == 204
    inbox.read_stored()
    assert [one.connection for one in here.events()] == [own]


def test_what_was_delivered_before_has_no_second_effect_but_is_kept(here: World) -> None:
    here.post([event(key="a"), event(key="b")])
    answers = [here.post([event(key="b"), event(key="a")]), here.post([event(key="b"), event(key="c"), event(key="c")])]

    assert [one.status_code for one in answers] == [200, 200]
    assert [one.key for one in here.events()] == ["a", "b", "c"]
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["read", "repeated", "read"]


def test_without_a_name_every_delivery_counts(here: World) -> None:
    for _ in range(2):
        here.post([event(), event()])
    assert len(here.events()) == 4


def test_the_same_name_at_another_address_is_another_event(here: World) -> None:
    other = Registration.objects.create(connector="signed", name="other", client_secret=vendor.SECRET)
    slug = addresses.make(other).names.get().slug
    here.post([event(key="a")])
    here.post([event(key="a")], slug=slug)
    assert len(here.events()) == 2


@pytest.mark.parametrize(("secret", "cause"), [("", "unsigned"), ("not-the-secret", "forged")])
def test_what_is_not_genuine_is_counted_and_not_kept(here: World, secret: str, cause: str) -> None:
    answers = [here.post([event()], secret=secret).status_code for _ in range(3)]

    assert answers == [403, 403, 403]
    assert refused() == {cause: 3}
    assert not Delivery.objects.exists()
    assert not InboxEvent.objects.exists()


def test_a_changed_byte_of_body_or_address_is_refused(here: World) -> None:
    body = json.dumps([event()]).encode()
    good = vendor.sign(body, f"{world.PUBLIC}/hooks/{here.slug}/")
    for path, sent in ((f"/hooks/{here.slug}/?x", body), (f"/hooks/{here.slug}/", body + b" ")):
        told = Client().post(path, sent, content_type="application/json", headers={"x-signature": good}, secure=True)
        assert told.status_code == 403, path
    assert refused() == {"forged": 2}


def test_old_and_new_secret_both_hold_until_the_old_one_is_dropped(here: World) -> None:
    addresses.add_secret(here.address, "the-newer-one")
    addresses.add_secret(here.address, "the-newest-one")
    for secret in ("the-newest-one", "the-newer-one", vendor.SECRET):
        assert here.post([event()], secret=secret).status_code == 200, secret
    here.address.refresh_from_db()
    addresses.drop_older(here.address)
    assert here.post([event()], secret="the-newer-one").status_code == 403
    assert here.post([event()], secret="the-newest-one").status_code == 200


def test_without_any_secret_nothing_is_believed_of_a_connector_that_verifies(here: World) -> None:
    Registration.objects.update(client_secret="")
    assert here.post([event()]).status_code == 403
    assert refused() == {"no secret set": 1}


def test_secrets_are_encrypted_at_rest(here: World) -> None:
    addresses.add_secret(here.address, "plain-text-canary")
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM syncline_webhookaddress")
        assert "canary" not in cursor.fetchone()[0]


def test_an_alias_leads_to_the_same_address_and_a_name_to_one_only(here: World) -> None:
    addresses.add_alias(here.address, "from-the-old-system")
    before = here.slug
    here.slug = addresses.rename(here.address)
    for slug in ("from-the-old-system", before, here.slug):
        assert here.post([event()], slug=slug).status_code == 200, slug
    with pytest.raises(ConfigError, match="leads to an address already"):
        addresses.add_alias(here.address, before)
    addresses.drop_alias(here.address, before)
    assert here.post([event()], slug=before).status_code == 404


@pytest.mark.parametrize(
    "alias",
    [
        "short",
        "with space",
        "a/b",
        "/salesforce/webhook",
        "salesforce//webhook",
        "salesforce/../admin",
        "salesforce/web hook",
        "x" * 101,
        "a/" + "x" * 100,
        "",
    ],
)
def test_an_alias_that_fits_no_address_is_refused(here: World, alias: str) -> None:
    with pytest.raises(ConfigError):
        addresses.add_alias(here.address, alias)


def test_an_unknown_address_and_an_unfit_method_are_told_apart(here: World) -> None:
    assert here.post([event()], slug="nobody-knows-this").status_code == 404
    assert Client().delete(f"/hooks/{here.slug}/", secure=True).status_code == 405
    assert not Refusal.objects.exists()


def test_the_last_slash_may_be_missing(here: World) -> None:
    body = json.dumps([event()]).encode()
    path = f"/hooks/{here.slug}"
    headers = {"x-signature": vendor.sign(body, world.PUBLIC + path)}
    assert Client().post(path, body, content_type="text/plain", headers=headers, secure=True).status_code == 200


def test_challenges_are_answered_and_only_by_connectors_that_do(here: World) -> None:
    assert here.post({"challenge": "abc"}).content == b"abc"
    asked = Client().get(f"/hooks/{here.slug}/?hub.challenge=xyz", secure=True)
    assert (asked.status_code, asked.content) == (200, b"xyz")
    own = addresses.make(world.connection(here.owner, "own", "9", connector="plain"))
    assert Client().get(f"/hooks/{own.names.get().slug}/", secure=True).status_code == 405
    assert not Refusal.objects.exists()


@pytest.mark.parametrize("off", ["address", "connector", "uninstalled"])
def test_what_is_switched_off_is_to_be_delivered_again(here: World, off: str) -> None:
    if off == "address":
        here.address.enabled = False
        here.address.save()
    elif off == "connector":
        ConnectorState.objects.create(key="signed", enabled=False)
    else:
        Registration.objects.update(connector="gone")
    assert here.post([event()]).status_code == 503
    assert list(refused().values()) == [1]
    assert not Delivery.objects.exists()


# Bad input


DEEP = b"[" * 100_000 + b"]" * 100_000
BOMB = gzip.compress(b"0" * 10_000_000)


@pytest.mark.parametrize(
    "body", [DEEP, BOMB, b"\xff\xfe\x00", b"no json", b"", '[{"id": "é"}]'.encode("latin-1"), b"[1]", b'[{"id": 5}]', b"null"]
)
def test_what_cannot_be_read_is_kept_acknowledged_and_explained(here: World, body: bytes) -> None:
    told = here.post(body, **({"Content-Encoding": "gzip"} if body is BOMB else {}))

    (kept,) = Delivery.objects.all()
    assert told.status_code == 202
    assert (bytes(kept.body), kept.state) == (body, "unreadable")
    assert kept.cause
    assert not InboxEvent.objects.exists()


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\0b\udfff"])
def test_texts_that_postgresql_cannot_hold_lose_nothing(here: World, text: str) -> None:
    told = here.post([event(id_=f"7{text}", key=f"k{text}", data={"said": text}), event()])
    assert told.status_code == 200
    assert len(here.events()) == 2


def test_names_of_any_length_tell_events_apart(here: World) -> None:
    long = "x" * 5000
    for key in (long, long, long + "y"):
        here.post([event(key=key)])
    assert [one.key for one in here.events()] == [long, long + "y"]


def test_what_a_person_may_see_of_an_event_stays_small(here: World) -> None:
    here.post([event(data={"x": "y" * 100_000})])
    assert "left_out" in here.events()[0].data


def test_unknown_kinds_and_events_of_no_record_are_kept_and_left_alone(here: World) -> None:
    here.post([event(kind="teleported"), event(object=""), event(id_="")])
    assert here.states() == ["unknown"] * 3
    assert [one.connection for one in here.events()] == [here.first] * 3


def test_a_body_of_10_mb_is_refused_with_flat_memory(here: World) -> None:
    body = b"0" * 10_000_000
    tracemalloc.start()
    told = here.post(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told.status_code == 413
    assert refused() == {"too large": 1}
    assert not Delivery.objects.exists()
    assert peak < 25_000_000  # the client's own copies


class Endless(io.RawIOBase):
    """Chunks that never end, and how much of them was read."""

    read_so_far = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= views.CHUNK
        self.read_so_far += size
        return b"x" * size


def request(**environment: Any) -> WSGIRequest:
    asked = RequestFactory().post("/hooks/x/")
    asked.META.update(environment)
    return asked


def test_chunks_without_a_length_are_read_up_to_the_cap_and_held_no_further() -> None:
    stream = Endless()
    chunked = request(**{"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "wsgi.input": stream})
    tracemalloc.start()
    with pytest.raises(views._TooLarge):
        views.read_body(chunked, 100_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert stream.read_so_far <= 100_001 + views.MOST_DISCARDED


def test_a_chunked_body_within_the_cap_arrives_whole() -> None:
    whole = b"y" * 100_000
    chunked = request(**{"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(whole)})
    assert views.read_body(chunked, 100_000) == whole


def test_chunks_are_refused_where_the_server_does_not_tell_their_end(here: World) -> None:
    told = Client().post(f"/hooks/{here.slug}/", b"", content_type="x/y", headers={"Transfer-Encoding": "chunked"}, secure=True)
    assert told.status_code == 411


def test_a_body_that_broke_off_is_not_taken_for_a_whole_one() -> None:
    asked = WSGIRequest({"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(b"[]"), "CONTENT_LENGTH": "7"})
    with pytest.raises(views._Unreadable):
        views.read_body(asked, 100)


def test_a_connector_that_does_not_come_back_costs_two_seconds_and_no_delivery(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PARSE_SECONDS", 0.05)
    monkeypatch.setitem(reading._paces, ("signed", Capability.PARSE), timed.Pace())
    begun = time.monotonic()
    answers = [here.post(b"sleep 0.6").status_code for _ in range(timed.MOST_STUCK + 3)]
    assert time.monotonic() - begun < 0.55  # those beyond the most were not even tried
    assert set(answers) == {202}
    causes = list(Delivery.objects.order_by("pk").values_list("cause", flat=True))
    assert "took too long" in causes[0]
    assert "Restart web server and workers" in causes[-1]
    time.sleep(0.7)
    assert here.post([event()]).status_code == 200  # they came back in the end


@pytest.mark.parametrize(("hook", "answer", "kept"), [("verify", 503, 0), ("acknowledge", 204, 1)])
def test_a_check_or_an_answer_that_does_not_come_back_holds_nobody_up(
    here: World, monkeypatch: pytest.MonkeyPatch, hook: str, answer: int, kept: int
) -> None:
    """Not believed, the vendor is to deliver it again; stored, it is acknowledged by the default."""
    from syncline.registry import connector

    monkeypatch.setattr(reading, "VERIFY_SECONDS", 0.05)
    monkeypatch.setattr(reading, "ANSWER_SECONDS", 0.05)
    monkeypatch.setitem(reading._paces, ("signed", Capability(hook)), timed.Pace())
    here.post([event("1")])
    gate, before = threading.Event(), Delivery.objects.count()
    monkeypatch.setattr(connector("signed").call, hook, lambda **_: gate.wait(10))
    begun = time.monotonic()

    answers = [here.post([event("2")]).status_code for _ in range(timed.MOST_STUCK + 3)]

    assert time.monotonic() - begun < 2
    gate.set()
    assert set(answers) == {answer}
    assert Delivery.objects.count() - before == kept * len(answers)


def test_when_the_database_fails_the_vendor_is_to_deliver_again(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    for module, name in ((store, "store"), (addresses, "find")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, away)
            assert here.post([event(key="a")]).status_code == 503, name
    assert here.post([event(key="a")]).status_code == 200
    assert len(here.events()) == 1


@pytest.mark.parametrize("fault", ["raises", "nothing", "line break", "status"])
def test_a_faulty_acknowledgement_is_replaced_and_loses_nothing(here: World, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def acknowledge(**_: Any) -> Any:
        if fault == "raises":
            raise KeyError(fault)
        return {"line break": Answer(200, headers={"x": "a\nb"}), "status": Answer(42)}.get(fault)

    from syncline.registry import connector

    monkeypatch.setattr(connector("signed").call, "acknowledge", acknowledge, raising=False)
    assert here.post([event()]).status_code == 204
    assert len(here.events()) == 1


def test_a_verification_that_fails_lets_nothing_in_and_asks_for_it_again(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from syncline.registry import connector

    monkeypatch.setattr(connector("signed").call, "verify", lambda **_: "perhaps", raising=False)
    assert here.post([event()]).status_code == 503
    assert refused() == {"not checked": 1}


def test_nothing_secret_is_logged(here: World, caplog: pytest.LogCaptureFixture) -> None:
    here.post(b"no json canary-in-the-body")
    here.post([event()], secret="canary-of-a-guesser")
    here.post([event()], slug="canary-in-the-address")
    assert "canary" not in caplog.text
    assert here.slug not in caplog.text


def test_one_statement_stores_a_delivery(here: World, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    row = prepared.row

    def counted(sql: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        asked.append(sql)
        return row(sql, values)

    monkeypatch.setattr(prepared, "row", counted)
    here.post([event()])  # rings
    with django_assert_num_queries(0):
        here.post([event(id_="8"), event(id_="9", account="2")])
    assert len(asked) == 3  # the address once, and all of the rest


def test_the_statement_of_an_intake_is_planned_once(here: World) -> None:
    def prepared_ones() -> list[tuple[int, int]]:
        with connection.cursor() as cursor:
            plans = "SELECT count(*), sum(generic_plans + custom_plans) FROM pg_prepared_statements"
            cursor.execute(f"{plans} WHERE statement ~ 'syncline_delivery'")
            return list(cursor.fetchall())

    here.post([event()])
    ((statements, plans),) = prepared_ones()
    for _ in range(3):
        here.post([event()])
    assert statements == 1
    assert prepared_ones() == [(1, plans + 3)]


def test_the_bell_rings_once_for_all_that_comes_within_a_moment(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr("syncline.background.ring", rung.append)
    monkeypatch.setattr(intake, "_bell", intake.Bell())
    here.post([event(kind="teleported")])
    assert rung == []
    for _ in range(3):
        here.post([event()])
    assert rung == ["inbox"]
    monkeypatch.setattr(intake, "MOMENT", 0)
    here.post([event()])
    assert rung == ["inbox"] * 2


EVENTS = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["1", "2", "3", ""])), max_size=6)


@given(deliveries=st.lists(EVENTS, max_size=5))
@hypothetically(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_delivered_each_name_counts_once_and_each_account_gets_its_own(
    db: None, deliveries: list[list[tuple[str, str]]]
) -> None:
    with transaction.atomic():
        here = world.build()
        for delivered in deliveries:
            assert here.post([event(key=key, account=account) for key, account in delivered]).status_code == 200
        seen: set[str] = set()
        expected = []
        for key, account in (one for delivered in deliveries for one in delivered):
            if key in seen:
                continue
            seen |= {key} - {""}
            expected.append((key, {"1": here.first.pk, "2": here.second.pk}.get(account)))
        assert [(one.key, one.connection_id) for one in here.events()] == expected
        assert set(InboxKey.objects.values_list("key", flat=True)) == seen
        assert Delivery.objects.count() == len(deliveries)
        assert Connection.objects.count() == 2
        transaction.set_rollback(True)
