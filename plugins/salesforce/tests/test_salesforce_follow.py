"""Changes followed as they happen, against the sandbox's Pub/Sub API: what they tell, gaps, places, and streams that end."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests
from syncline.contract import (
    AuthError,
    ConfigError,
    HeaderAuth,
    Http,
    ObjectType,
    Page,
    Permanent,
    PullRequest,
    RemoteRecord,
    Retryable,
    Session,
    UnsupportedFeature,
)
from syncline.contract.http import HostRefused
from syncline_salesforce import follow, objects
from syncline_salesforce.client import Client
from syncline_salesforce.connector import Salesforce
from syncline_salesforce.pubsub.bitmaps import Layout
from syncline_salesforce.pubsub.bus import Bus
from syncline_salesforce.sandbox.process import RunningSandbox

ASKED = ("Name", "Phone", "BillingCountry", "Founded__c", "Last_Call__c", "NumberOfEmployees", "Interests__c", "Description")


class Renewable:
    """Signs in with the sandbox's token; `fresh` is what a renewal gets."""

    def __init__(self, token: str) -> None:
        self.token, self.fresh, self.renewed = token, "", 0

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def renew(self, used: Mapping[str, str]) -> bool:
        self.renewed += 1
        self.token, worked = self.fresh or self.token, bool(self.fresh)
        return worked

    def held(self) -> dict[str, str]:
        return {"access_token": self.token}


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


@pytest.fixture
def sandbox(shared: RunningSandbox) -> RunningSandbox:
    shared.admin.streams(silent=False, keepalive=270, patience=60)
    return shared


@pytest.fixture
def alone() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


def session_of(sandbox: RunningSandbox, auth: Any = None, **settings: str) -> Session:
    auth = auth or HeaderAuth({"Authorization": f"Bearer {sandbox.token}"})
    held: Callable[[], Mapping[str, str]] = auth.held if isinstance(auth, Renewable) else lambda: {"token": sandbox.token}
    http = Http(hosts=("127.0.0.1",), auth=auth, patience=0)
    known = {"instance_url": sandbox.url + "/", "api_version": "v67.0", "pubsub_url": sandbox.pubsub_url, **settings}
    return Session(known, http, "k3yd", logging.getLogger("test.salesforce"), credentials=held)


def of(sandbox: RunningSandbox, key: str) -> ObjectType:
    return next(one for one in objects.discover(Client(session_of(sandbox))) if one.key == key)


def token_of(sandbox: RunningSandbox) -> str:
    form = {"grant_type": "client_credentials", "client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    token: str = requests.post(f"{sandbox.url}/services/oauth2/token", form, timeout=10).json()["access_token"]
    return token


class Follower:
    """Follows one object; `records(n)` waits for so many."""

    def __init__(self, sandbox: RunningSandbox, key: str = "Account", position: str | None = None, **more: Any) -> None:
        properties = more.pop("properties", ASKED)
        request = PullRequest(properties, position, follow=True)
        self.position: str | None = position
        self._left = 30
        self._pages = follow.follow(session_of(sandbox, **more), of(sandbox, key), request)

    def page(self) -> Page:
        page, self._left = next(self._pages), self._left - 1
        assert self._left, "what is waited for does not come"
        self.position = page.position
        return page

    def records(self, count: int) -> list[RemoteRecord]:
        found: list[RemoteRecord] = []
        for _ in range(count + 5):
            if len(found) >= count:
                break
            found += self.page().records
        return found

    def close(self) -> None:
        self._pages.close()  # type: ignore[attr-defined]


@pytest.fixture
def following(sandbox: RunningSandbox) -> Iterator[Callable[..., Follower]]:
    """A follower that has read what was there before."""
    made: list[Follower] = []

    def begin(key: str = "Account", **more: Any) -> Follower:
        [mark] = sandbox.admin.seed(key, [{"Name" if key != "Contact" else "LastName": "mark"}])
        made.append(Follower(sandbox, key, **more))
        while mark not in {record.id for record in made[-1].page().records}:
            pass
        return made[-1]

    yield begin
    for one in made:
        one.close()


def only(records: list[RemoteRecord]) -> RemoteRecord:
    [record] = records
    return record


def seeded(sandbox: RunningSandbox, follower: Follower, **values: Any) -> str:
    [made] = sandbox.admin.seed("Account", [{"Name": "Acme", **values}])
    assert [record.id for record in follower.records(1)] == [made]
    return made


def test_what_can_be_followed_is_discovered(sandbox: RunningSandbox) -> None:
    found = {one.key: one.follow for one in objects.discover(Client(session_of(sandbox)))}
    assert found == {"Account": True, "Contact": True, "Customer__c": True}
    assert objects.change_event("Customer__c") == "Customer__ChangeEvent"


def test_a_new_record_comes_with_all_its_values(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    values = {
        "Name": "Acme", "BillingCountry": "NZ", "Founded__c": "1999-12-31", "Last_Call__c": "2026-02-28T23:59:59Z",
        "NumberOfEmployees": 7, "Interests__c": "Support;Cloud",
    }  # fmt: skip
    [made] = sandbox.admin.seed("Account", [values])
    record = only(follower.records(1))

    assert (record.id, record.archived) == (made, False)
    assert record.properties == {
        "Name": "Acme", "Phone": None, "BillingCountry": "NZ", "Founded__c": "1999-12-31",
        "Last_Call__c": "2026-02-28T23:59:59.000Z", "NumberOfEmployees": 7, "Interests__c": ("Cloud", "Support"),
        "Description": None,
    }  # fmt: skip
    assert record.modified_at
    assert abs(record.modified_at.timestamp() - time.time()) < 60
    assert record.modified_at.tzinfo


def test_an_update_tells_only_what_changed_and_what_was_emptied(
    sandbox: RunningSandbox, following: Callable[..., Follower]
) -> None:
    follower = following()
    made = seeded(sandbox, follower, Phone="1", BillingCountry="NZ", NumberOfEmployees="3")
    sandbox.admin.edit("Account", {"Phone": "2"}, [made])
    sandbox.admin.edit("Account", {"BillingCountry": "AU", "Founded__c": "2001-02-03"}, [made])
    sandbox.admin.edit("Account", {"BillingCountry": "", "NumberOfEmployees": ""}, [made])
    sandbox.admin.calls()
    told: dict[str, Any] = {}
    while told.get("NumberOfEmployees", 0) is not None:
        for record in follower.page().records:
            told |= record.properties

    assert told == {"Phone": "2", "BillingCountry": None, "Founded__c": "2001-02-03", "NumberOfEmployees": None}
    assert sandbox.admin.calls() == [], "nothing is asked for that events tell"


def test_parts_of_a_name_are_properties_and_the_name_itself_is_asked_for(
    sandbox: RunningSandbox, following: Callable[..., Follower]
) -> None:
    follower = following("Contact", properties=("FirstName", "LastName", "Email"))
    [made] = sandbox.admin.seed("Contact", [{"LastName": "Lovelace", "FirstName": "Ada"}])
    assert only(follower.records(1)).properties == {"FirstName": "Ada", "LastName": "Lovelace", "Email": None}
    sandbox.admin.edit("Contact", {"FirstName": ""}, [made])
    assert only(follower.records(1)).properties == {"FirstName": None}


def test_one_event_tells_of_all_records_that_changed_alike(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    made = [seeded(sandbox, follower) for _ in range(3)]
    sandbox.admin.edit("Account", {"Phone": "same"}, made)
    page = follower.page()
    assert [(record.id, record.properties) for record in page.records] == [(one, {"Phone": "same"}) for one in made]


def test_what_no_event_tells_is_asked_for(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    """Audit stamps and formulas are no part of an event: whoever asks for one gets the whole record as it is now."""
    follower = following(properties=("Name", "SystemModstamp", "MasterRecordId"))
    made = seeded(sandbox, follower, Phone="1")
    sandbox.admin.edit("Account", {"Phone": "2"}, [made])
    assert set(only(follower.records(1)).properties) == {"Name", "SystemModstamp", "MasterRecordId"}


def test_a_long_text_comes_whole_although_its_event_tells_a_difference(
    sandbox: RunningSandbox, following: Callable[..., Follower]
) -> None:
    follower = following()
    text = "\n".join(f"line {number} of a long description" for number in range(30))
    made = seeded(sandbox, follower, Description=text)
    sandbox.admin.edit("Account", {"Description": text.replace("line 7 ", "seventh line ")}, [made])
    assert only(follower.records(1)).properties["Description"] == text.replace("line 7 ", "seventh line ")


@pytest.mark.parametrize("change", ["GAP_UPDATE", "GAP_CREATE", "GAP_UNDELETE"])
def test_a_gap_is_filled_by_asking(sandbox: RunningSandbox, following: Callable[..., Follower], change: str) -> None:
    follower = following()
    made = seeded(sandbox, follower)
    sandbox.admin.streams(silent=True)
    sandbox.admin.edit("Account", {"Phone": "unheard", "Name": "Acme 2"}, [made])
    sandbox.admin.inject("Account", change, made)
    page = follower.page()

    assert page.gap == ""
    assert (only(list(page.records)).properties["Phone"], page.records[0].properties["Name"]) == ("unheard", "Acme 2")


def test_deleted_undeleted_and_merged_records(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    gone, back, into, merged = [seeded(sandbox, follower, Phone=str(number)) for number in range(4)]
    sandbox.admin.delete(gone)
    record = only(follower.records(1))
    assert (record.id, record.archived, record.properties) == (gone, True, {})
    sandbox.admin.delete(back)
    assert only(follower.records(1)).archived
    sandbox.admin.undelete(back)
    assert (only(follower.records(1)).archived, follower.position is None) == (False, False)
    sandbox.admin.merge("Account", into, merged)
    found = {record.id: record.merged for record in follower.records(1)}
    assert found == {into: (merged,)}
    sandbox.admin.inject("Account", "GAP_DELETE", gone)
    assert only(follower.records(1)).archived


@pytest.mark.parametrize(("change", "ids"), [("GAP_OVERFLOW", ["001*"]), ("UPDATE", ["001*"]), ("GAP_UPDATE", ["001*"])])
def test_what_names_no_record_is_a_gap_and_the_stream_goes_on(
    sandbox: RunningSandbox, following: Callable[..., Follower], change: str, ids: list[str]
) -> None:
    follower = following()
    made = seeded(sandbox, follower)
    before = follower.position
    sandbox.admin.inject("Account", change, *ids)
    page = follower.page()
    assert change in page.gap
    assert (page.records, page.position != before) == ([], True)
    sandbox.admin.edit("Account", {"Phone": "after"}, [made])
    assert only(follower.records(1)).properties == {"Phone": "after"}


def test_a_position_goes_on_after_the_last_event_and_repeats_none(
    sandbox: RunningSandbox, following: Callable[..., Follower]
) -> None:
    first = following()
    made = seeded(sandbox, first)
    first.close()
    for number in range(250):
        sandbox.admin.edit("Account", {"Phone": str(number)}, [made])
    told: list[Any] = []
    position = first.position
    while "249" not in told:  # a new stream for every page
        second = Follower(sandbox, position=position)
        told += [record.properties["Phone"] for record in second.page().records]
        second.close()
        position = second.position
    assert told == ["99", "199", "249"], "up to 100 changes of one record in a page are one"


def test_more_events_than_may_be_under_way_all_come(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    made = sandbox.admin.seed("Account", [{"Name": f"Acme {number}"} for number in range(350)])
    assert [record.id for record in follower.records(350)] == made


def test_a_stream_that_is_not_read_ends_and_is_retried(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    sandbox.admin.streams(patience=0.3)
    follower = following()
    sandbox.admin.seed("Account", [{"Name": f"Acme {number}"} for number in range(150)])
    while not follower.page().records:
        pass
    time.sleep(1)
    with pytest.raises(Retryable, match="ended the stream"):
        follower.records(150)
    again = Follower(sandbox, position=follower.position)
    assert again.records(1)
    again.close()


def test_signs_of_life_move_the_position(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stood still for three days would be lost."""
    sandbox.admin.streams(keepalive=0.2)
    follower = Follower(sandbox, "Customer__c", properties=("Name",))
    page = follower.page()
    follower.close()
    assert (page.records, page.gap) == ([], "")
    assert str(page.position).startswith("after ")


def test_pages_come_without_events_and_before_the_first_one_a_moment_is_the_position(
    alone: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PATIENCE", 0.2)
    follower = Follower(alone)
    begun = time.monotonic()
    pages = [follower.page() for _ in range(3)]
    follower.close()
    assert time.monotonic() - begun < 3
    assert {(len(page.records), page.gap) for page in pages} == {(0, "")}
    [made] = alone.admin.seed("Account", [{"Name": "Meanwhile"}])
    assert str(pages[-1].position).startswith("from ")
    later = Follower(alone, position=pages[-1].position)
    assert [record.id for record in later.records(1)] == [made], "nothing is lost between the first page and the first event"
    later.close()


def test_what_was_committed_long_before_is_passed_over(alone: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE", 0.2)
    alone.admin.seed("Account", [{"Name": "Old"}])
    moment = int((time.time() + 1800) * 1000)
    alone.admin.advance(3600)
    [new] = alone.admin.seed("Account", [{"Name": "New"}])
    follower = Follower(alone, position=f"from {moment}")
    assert [record.id for record in follower.records(1)] == [new]
    follower.close()


@pytest.mark.parametrize("how", ["made up", "three days old"])
def test_a_place_that_is_not_kept_is_a_gap_and_begins_with_the_oldest(alone: RunningSandbox, how: str) -> None:
    alone.admin.seed("Account", [{"Name": "Before"}])
    first = Follower(alone)
    first.records(1)
    first.close()
    alone.admin.seed("Account", [{"Name": "Lost"}])
    alone.admin.advance(73 * 3600 if how == "three days old" else 0)
    [made] = alone.admin.seed("Account", [{"Name": "Kept"}])
    position = first.position if how == "three days old" else "after AAAA"
    follower = Follower(alone, position=position)
    page = follower.page()
    assert "replayid.corrupted" in page.gap
    assert (page.records, page.position) == ([], "earliest")
    assert made in {record.id for record in follower.page().records}
    follower.close()


@pytest.mark.parametrize("position", ["", "after", "after !", "after A", "12", "from x"])
def test_a_position_of_something_else_is_refused(sandbox: RunningSandbox, position: str) -> None:
    with pytest.raises(Permanent, match="no place in a stream"):
        Follower(sandbox, position=position).page()


def test_a_token_that_ended_is_renewed_once_and_the_stream_goes_on(alone: RunningSandbox) -> None:
    auth = Renewable(alone.token)
    follower = Follower(alone, auth=auth)
    alone.admin.seed("Account", [{"Name": "Before"}])
    follower.records(1)
    alone.admin.config(expire=True)
    auth.fresh = token_of(alone)
    alone.admin.streams(end="UNAUTHENTICATED")
    [made] = alone.admin.seed("Account", [{"Name": "After"}])
    assert [record.id for record in follower.records(1)] == [made]
    assert auth.renewed == 1
    follower.close()


def test_a_token_that_is_refused_again_needs_a_person(alone: RunningSandbox) -> None:
    """REST takes it and the event bus does not: it is asked twice, and not for ever."""
    session = session_of(alone)
    odd = Session(session.settings, session.http, "k3yd", session.log, "00D000000000002AAA", session.credentials)
    pages = follow.follow(odd, of(alone, "Account"), PullRequest(("Name",), follow=True))
    with pytest.raises(AuthError, match=r"auth\.error"):
        next(pages)
    assert alone.admin.streams()["begun"] == 0
    assert [call for call in alone.admin.calls() if "query" in call] == ["GET /query"]


def test_an_end_of_service_is_retried_from_the_position(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    made = seeded(sandbox, follower)
    sandbox.admin.streams(end="UNAVAILABLE")
    with pytest.raises(Retryable, match="unavailable") as caught:
        follower.page()
    assert caught.value.after == 5
    sandbox.admin.edit("Account", {"Phone": "later"}, [made])
    again = Follower(sandbox, position=follower.position)
    assert only(again.records(1)).properties == {"Phone": "later"}
    again.close()


def test_a_bus_that_cannot_be_reached_is_retried(sandbox: RunningSandbox) -> None:
    with pytest.raises(Retryable, match="event bus"):
        Follower(sandbox, pubsub_url="127.0.0.1:9").page()


def test_no_other_host_is_called(sandbox: RunningSandbox) -> None:
    with pytest.raises(HostRefused, match=r"bus\.example\.com"):
        Follower(sandbox, pubsub_url="bus.example.com:7443").page()


def test_an_object_that_was_not_chosen_is_said(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "change_event", lambda key: "OrderChangeEvent")
    with pytest.raises(ConfigError, match=r"/data/OrderChangeEvent .*Setup → Change Data Capture"):
        Follower(sandbox).page()


def test_an_object_without_events_is_not_followed(sandbox: RunningSandbox) -> None:
    plain = ObjectType("Thing__c", "Things", (), {})
    with pytest.raises(UnsupportedFeature, match="no change events"):
        next(iter(Salesforce().pull(session_of(sandbox), plain, PullRequest((), follow=True))))


def test_an_event_that_cannot_be_read_is_a_gap(
    sandbox: RunningSandbox, following: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = following()
    made = seeded(sandbox, follower)
    spoilt = itertools.count()
    real = Bus.schema

    def broken(self: Any, schema_id: str) -> Any:
        if next(spoilt) == 0:
            raise ValueError("no such symbol")
        return real(self, schema_id)

    monkeypatch.setattr(Bus, "schema", broken)
    sandbox.admin.edit("Account", {"Phone": "1"}, [made])
    assert "could not be read" in follower.page().gap
    sandbox.admin.edit("Account", {"Phone": "2"}, [made])
    assert only(follower.records(1)).properties == {"Phone": "2"}


def test_closing_leaves_no_thread_and_no_stream(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    follower = following()
    begun = time.monotonic()
    follower.close()
    assert time.monotonic() - begun < 3, "whoever stops a worker does not wait for Salesforce"
    deadline = time.monotonic() + 5
    while sandbox.admin.streams()["running"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sandbox.admin.streams()["running"] == 0
    assert not [one.name for one in threading.enumerate() if one.name.startswith("follow ")]


def test_our_own_changes_come_too_and_are_named(sandbox: RunningSandbox, following: Callable[..., Follower]) -> None:
    """They are known by their content: an echo changes nothing, and what a person did to the same record is not lost."""
    follower = following()
    made = seeded(sandbox, follower)
    body = {"allOrNone": False, "records": [{"attributes": {"type": "Account"}, "id": made, "Phone": "ours"}]}
    Client(session_of(sandbox)).write("PATCH", "/composite/sobjects", body)
    assert only(follower.records(1)).properties == {"Phone": "ours"}


PARTS = [{"name": name, "type": "string"} for name in ("Street", "City", "State")]
ADDRESS = {"type": "record", "name": "Address", "fields": PARTS}
SCHEMA = {
    "type": "record",
    "name": "E",
    "namespace": "com.sforce.eventbus",
    "fields": [
        {"name": "ChangeEventHeader", "type": "string"},
        {"name": "Name", "type": ["null", "string"]},
        {"name": "BillingAddress", "type": ["null", ADDRESS]},
        {"name": "ShippingAddress", "type": ["null", "com.sforce.eventbus.Address"]},
        *({"name": f"F{number}", "type": ["null", "string"]} for number in range(4, 12)),
    ],
}


@pytest.mark.parametrize(
    ("bitmaps", "meant"),
    [
        ([], []),
        (["0x2"], ["Name"]),
        (["0x0810"], ["F4", "F11"]),
        (["0x6", "2-0x6"], ["Name", "BillingAddress.City", "BillingAddress.State"]),
        (["3-0x1"], ["ShippingAddress.Street"]),
        (["0x4"], ["BillingAddress.Street", "BillingAddress.City", "BillingAddress.State"]),
    ],
)
def test_bits_are_fields_in_the_order_of_the_schema_the_lowest_first(bitmaps: list[str], meant: list[str]) -> None:
    assert [".".join(path) for path in Layout(SCHEMA).named(bitmaps)] == meant


@pytest.mark.parametrize("bitmap", ["0x1000", "2-0x8", "1-0x1", "99-0x1", "zz"])
def test_a_bit_that_stands_for_no_field_is_not_guessed(bitmap: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Layout(SCHEMA).named([bitmap])
