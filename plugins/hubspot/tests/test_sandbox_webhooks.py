"""The sandbox tells what happens: signed, in arrays, again until acknowledged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
import requests
from hubspot.utils.signature import Signature
from syncline_hubspot.sandbox.crafted import deliver, event
from syncline_hubspot.sandbox.process import RunningSandbox


class Listener:
    """Answers deliveries as `answers` says, first to last and then 204; keeps what came."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.deliveries: list[tuple[dict[str, str], bytes]] = []
        self.slow = 0.0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.deliveries.append((dict(self.headers), body))
                time.sleep(owner.slow)
                self.send_response(owner.answers.pop(0) if owner.answers else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks?x=%40a"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [each for _, body in self.deliveries for each in orjson.loads(body)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def sandbox(running: RunningSandbox) -> Iterator[RunningSandbox]:
    running.admin.reset()
    yield running
    running.admin.unsubscribe()
    running.admin.config(
        webhook_timeout_s=5.0, webhook_batch=100, webhook_pauses=1.0, webhook_duplicates=0.0, webhook_shuffle=False
    )


def until(reached: Callable[[], bool], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def settled(sandbox: RunningSandbox) -> dict[str, Any]:
    until(lambda: sandbox.admin.webhooks()["waiting"] == 0)
    return sandbox.admin.webhooks()


def kinds(listener: Listener) -> list[tuple[str, str, Any]]:
    return [(each["subscriptionType"], each["changeSource"], each["objectId"]) for each in listener.events]


def test_whoever_changes_a_record_it_is_told_with_its_source(sandbox: RunningSandbox, listener: Listener) -> None:
    sandbox.admin.subscribe(listener.url)
    made = sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A"}}).json()["id"]
    sandbox.request("PATCH", f"/crm/v3/objects/companies/{made}", {"properties": {"name": "B", "city": ""}})
    sandbox.admin.patch("companies", made, {"name": "C"})
    sandbox.admin.patch("companies", made, {"name": "C"})  # no change
    sandbox.request("DELETE", f"/crm/v3/objects/companies/{made}")
    sandbox.admin.restore("companies", made)
    settled(sandbox)
    number = int(made)
    assert kinds(listener) == [
        ("company.creation", "INTEGRATION", number),
        ("company.propertyChange", "INTEGRATION", number),
        ("company.propertyChange", "CRM_UI", number),
        ("company.deletion", "INTEGRATION", number),
        ("company.restore", "CRM_UI", number),
    ]
    assert [each["propertyValue"] for each in listener.events if "propertyName" in each] == ["B", "C"]
    assert len({each["eventId"] for each in listener.events}) == 5


def test_seeding_is_told_to_nobody(sandbox: RunningSandbox, listener: Listener) -> None:
    sandbox.admin.subscribe(listener.url)
    sandbox.admin.seed("companies", [{"name": "A"}])
    assert settled(sandbox)["told"] == 0


def test_a_merge_names_all_ids_and_tells_of_the_one_that_went(sandbox: RunningSandbox, listener: Listener) -> None:
    one, two = sandbox.admin.seed("contacts", [{"email": "a@x.io"}, {"email": "b@x.io"}])
    sandbox.admin.subscribe(listener.url, "contact.merge", "contact.deletion")
    survivor = sandbox.admin.merge("contacts", two, into=one)
    settled(sandbox)
    merge, deletion = listener.events
    assert (merge["primaryObjectId"], merge["mergedObjectIds"], merge["newObjectId"]) == (int(one), [int(two)], int(survivor))
    assert deletion["objectId"] == int(two)


def test_associations_are_told_from_both_sides(sandbox: RunningSandbox, listener: Listener) -> None:
    (company,) = sandbox.admin.seed("companies", [{"name": "A"}])
    (contact,) = sandbox.admin.seed("contacts", [{"email": "a@x.io"}])
    sandbox.admin.subscribe(listener.url, "company.associationChange", "contact.associationChange")
    sandbox.admin.link("contacts", "companies", [(contact, company)])
    path = "/crm/v4/associations/contacts/companies/batch/archive"
    sandbox.request("POST", path, {"inputs": [{"from": {"id": contact}, "to": [{"id": company}]}]})
    settled(sandbox)
    told = [(each["associationType"], each["fromObjectId"], each["associationRemoved"]) for each in listener.events]
    assert told == [
        ("CONTACT_TO_COMPANY", int(contact), False),
        ("COMPANY_TO_CONTACT", int(company), False),
        ("CONTACT_TO_COMPANY", int(contact), True),
        ("COMPANY_TO_CONTACT", int(company), True),
    ]


def test_a_contact_deleted_for_good_is_told_as_such(sandbox: RunningSandbox, listener: Listener) -> None:
    (contact,) = sandbox.admin.seed("contacts", [{"email": "a@x.io"}])
    sandbox.admin.subscribe(listener.url)
    sandbox.request("POST", "/crm/v3/objects/contacts/gdpr-delete", {"objectId": contact})
    settled(sandbox)
    assert [each["subscriptionType"] for each in listener.events] == ["contact.privacyDeletion"]


def test_custom_objects_are_told_in_the_new_form(sandbox: RunningSandbox, listener: Listener) -> None:
    plate = {"name": "plate", "label": "Plate", "type": "string", "fieldType": "text"}
    body = {"name": "cars", "labels": {"singular": "Car", "plural": "Cars"}, "properties": [plate]}
    type_id = sandbox.request("POST", "/crm-object-schemas/v3/schemas", body).json()["objectTypeId"]
    sandbox.admin.subscribe(listener.url, {"eventType": "object.creation", "objectTypeId": type_id})
    sandbox.request("POST", f"/crm/v3/objects/{type_id}", {"properties": {"plate": "X 1"}})
    settled(sandbox)
    assert [(each["subscriptionType"], each["objectTypeId"]) for each in listener.events] == [("object.creation", type_id)]


def test_deliveries_hold_a_hundred_events_and_a_signature_that_hubspot_s_library_takes(
    sandbox: RunningSandbox, listener: Listener
) -> None:
    sandbox.admin.seed("companies", [{"name": "A"}] * 250)
    sandbox.admin.subscribe(listener.url, {"eventType": "company.propertyChange", "propertyName": "city"}, secret="s")
    sandbox.admin.edit("companies", {"city": "Leeds {n}", "state": "x"})
    settled(sandbox)
    assert sorted(len(orjson.loads(body)) for _, body in listener.deliveries) == [50, 100, 100]
    assert {each["propertyName"] for each in listener.events} == {"city"}
    headers, body = listener.deliveries[0]
    stamp = headers["X-HubSpot-Request-Timestamp"]
    signed = listener.url.replace("%40", "@")
    expected = Signature.get_signature("s", body.decode(), "v3", http_uri=signed, http_method="POST", timestamp=stamp)
    assert headers["X-HubSpot-Signature-v3"] == expected


def test_what_is_not_acknowledged_comes_again_with_the_clock_and_is_given_up_after_ten_times(
    sandbox: RunningSandbox, listener: Listener
) -> None:
    listener.answers = [500, 401, 302]
    (company,) = sandbox.admin.seed("companies", [{"name": "A"}])
    sandbox.admin.subscribe(listener.url)
    sandbox.admin.patch("companies", company, {"name": "B"})
    until(lambda: sandbox.admin.webhooks()["refused"] == 1)
    time.sleep(0.1)
    assert len(listener.deliveries) == 1
    for refused in (1, 2, 3):
        until(lambda due=refused: sandbox.admin.webhooks()["refused"] == due)  # type: ignore[misc]
        sandbox.admin.advance(1200)
    assert settled(sandbox)["acknowledged"] == 1
    assert [each["attemptNumber"] for each in listener.events] == [0, 1, 2, 3]
    assert len({each["eventId"] for each in listener.events}) == 1
    listener.answers = [503] * 20
    sandbox.admin.patch("companies", company, {"name": "C"})
    for refused in range(4, 14):
        until(lambda due=refused: sandbox.admin.webhooks()["refused"] == due)  # type: ignore[misc]
        sandbox.admin.advance(86_400)
    assert settled(sandbox)["given_up"] == 1
    assert len(listener.deliveries) == 4 + 11


def test_it_comes_again_at_once_where_nobody_wants_to_wait(sandbox: RunningSandbox, listener: Listener) -> None:
    listener.answers = [500, 401]
    (company,) = sandbox.admin.seed("companies", [{"name": "A"}])
    sandbox.admin.config(webhook_pauses=0.001)
    sandbox.admin.subscribe(listener.url)
    sandbox.admin.patch("companies", company, {"name": "B"})
    assert settled(sandbox)["acknowledged"] == 1
    assert [each["attemptNumber"] for each in listener.events] == [0, 1, 2]


def test_an_answer_that_takes_too_long_is_none(sandbox: RunningSandbox, listener: Listener) -> None:
    (company,) = sandbox.admin.seed("companies", [{"name": "A"}])
    sandbox.admin.config(webhook_timeout_s=0.1)
    listener.slow = 0.5
    sandbox.admin.subscribe(listener.url)
    sandbox.admin.patch("companies", company, {"name": "B"})
    until(lambda: sandbox.admin.webhooks()["refused"] == 1)
    assert sandbox.admin.acknowledged() == []


def test_deliveries_are_doubled_and_shuffled_on_demand(sandbox: RunningSandbox, listener: Listener) -> None:
    sandbox.admin.seed("companies", [{"name": "A"}] * 400)
    sandbox.admin.config(webhook_batch=1, webhook_duplicates=0.3, webhook_shuffle=True)
    sandbox.admin.subscribe(listener.url)
    sandbox.admin.edit("companies", {"city": "Leeds"})
    until(lambda: len(set(sandbox.admin.acknowledged())) == 400)
    sandbox.admin.config(webhook_duplicates=0.0)
    settled(sandbox)
    told = [each["eventId"] for each in listener.events]
    assert set(told) == set(sandbox.admin.acknowledged())
    twice = sum(1 for times in Counter(told).values() if times > 1)
    assert 60 < twice < 200
    assert told != sorted(told)


@pytest.mark.parametrize(
    ("url", "events", "reason"),
    [
        ("https://example.com/x", [], "this machine only"),
        ("http://127.0.0.1:1/x", ["company.baptism"], "no event"),
        ("http://127.0.0.1:1/x", [{"eventType": "company.propertyChange", "propertyName": "hs_lastmodifieddate"}], "nobody"),
        ("http://127.0.0.1:1/x", ["object.creation"], "objectTypeId"),
    ],
)
def test_what_hubspot_would_not_subscribe_is_refused(sandbox: RunningSandbox, url: str, events: Any, reason: str) -> None:
    with pytest.raises(requests.HTTPError, match=reason):
        sandbox.admin.subscribe(url, *events)


def test_a_test_can_make_deliveries_of_its_own(listener: Listener) -> None:
    assert deliver(listener.url, [event(5)], "s").status_code == 204
    deliver(listener.url, b"\xff", "s", headers={"X-HubSpot-Signature-v3": None, "X-More": "1"})
    (first, body), (second, raw) = listener.deliveries
    assert orjson.loads(body)[0]["objectId"] == 5
    assert "X-HubSpot-Signature-v3" in first
    assert "X-HubSpot-Signature-v3" not in second
    assert (raw, second["X-More"]) == (b"\xff", "1")
