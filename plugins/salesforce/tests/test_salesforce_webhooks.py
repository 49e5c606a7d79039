"""What arrives by itself: customer changes, calls of flows in any form, outbound messages, and what nobody meant to send."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from syncline.contract import Event, EventKind, Permanent, Receipt, Verification, WebhookRequest
from syncline_salesforce.ids import full
from syncline_salesforce.signatures import verify
from syncline_salesforce.webhooks import acknowledge, parse

pytestmark = pytest.mark.unit

ORG = "00D000000000001EAA"
CUSTOMER = {
    "AccountManager": "Ada",
    "Id": "6f8c7d8e-0d0b-4d43-9d1c-0d6a0f7d3a11",
    "Name": "example.com",
    "SalesEngineerId": "0e8b1c56-3d4e-4a43-b7f7-5d8f6e1c1b11",
    "SignedTos": True,
    "SKU1": True,
    "SKU2": False,
    "SKU3": False,
}


def request(body: bytes, query: str = "", **headers: str) -> WebhookRequest:
    url = f"https://sync.example.com/hooks/a1b2c3d4/{query}"
    return WebhookRequest("POST", url, headers, body, dt.datetime(2026, 11, 26, tzinfo=dt.UTC))


def read(told: Any, query: str = "") -> Event:
    [event] = parse(request(orjson.dumps(told), query))
    return event


def message(*notifications: str, head: str = "", organization: str = ORG) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{organization}'
        f"</OrganizationId><ActionId>04k1</ActionId>{''.join(notifications)}</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def notification(number: int, kind: str = "Account", fields: str = "") -> str:
    return (
        f'<Notification><Id>04l{number}</Id><sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>001{number:012}</sf:Id>{fields}</sObject></Notification>"
    )


def test_a_customer_change_is_one_event_with_all_of_it_and_no_name() -> None:
    assert read(CUSTOMER) == Event(
        EventKind.MESSAGE, object_type="Customer", remote_id="6f8c7d8e-0d0b-4d43-9d1c-0d6a0f7d3a11", data=CUSTOMER
    )


def test_a_new_sku_needs_no_code() -> None:
    assert read({"Id": "a", "SKU4": True}).data == {"Id": "a", "SKU4": True}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"Id": None}, "Id"),
        ({"Id": 7}, "Id"),
        ({"Id": " "}, "Id"),
        ({"Id": "x" * 300}, "Id"),
        ({"SignedTos": "true"}, "SignedTos"),
        ({"SKU1": None}, "SKU1"),
        ({"SKU2": 1, "SKU9": "yes"}, "SKU2, SKU9"),
        ({"Name": 7}, "Name"),
    ],
)
def test_a_malformed_customer_is_refused_by_name(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(Permanent, match=named):
        read({**CUSTOMER, **changed})


@pytest.mark.parametrize(
    ("told", "query"),
    [
        ({"attributes": {"type": "Account"}, "Id": "001000000000042AAA"}, ""),
        ({"sObjectType": "Account", "recordId": "001000000000042"}, ""),
        ({"OBJECT": "Account", "id": "001000000000042AAA", "weather": None}, ""),
        ({"RecordId": "001000000000042AAA"}, "?object=Account"),
        ({"RecordId": "001000000000042AAA", "type": "Customer"}, "?a=b&object=Account"),
    ],
)
def test_a_flow_s_call_names_its_record_in_many_ways(told: dict[str, Any], query: str) -> None:
    event = read(told, query)
    assert (event.kind, event.object_type, event.remote_id) == (EventKind.CHANGED, "Account", "001000000000042AAA")
    assert event.data == told


@pytest.mark.parametrize("told", [{}, {"Id": "001"}, {"type": 7, "Id": []}, {"": None}, {"attributes": "Account"}])
def test_what_names_no_record_is_kept_as_unknown(told: dict[str, Any]) -> None:
    assert read(told) == Event(EventKind.UNKNOWN, data=told)


def test_a_list_holds_several_and_the_account_is_told_where_it_is_named() -> None:
    one = {"object": "Lead", "Id": "00Q000000000001", "OrganizationId": ORG[:15]}
    events = parse(request(orjson.dumps([one, {"a": 1}])))
    assert [(e.kind, e.account) for e in events] == [(EventKind.CHANGED, ORG), (EventKind.UNKNOWN, "")]


def test_an_outbound_message_tells_each_record_once_by_name() -> None:
    first = notification(1, fields="<sf:Name>Zoë &amp; Co</sf:Name><sf:Phone/><sf:SKU1__c>true</sf:SKU1__c>")
    events = parse(request(message(first, notification(2, "Customer__c"), "<Notification><Id>04l3</Id></Notification>")))

    assert [(e.kind, e.key, e.account, e.object_type, e.remote_id) for e in events] == [
        (EventKind.CHANGED, "04l1", ORG, "Account", full("001000000000001")),
        (EventKind.CHANGED, "04l2", ORG, "Customer__c", full("001000000000002")),
        (EventKind.UNKNOWN, "04l3", ORG, "", ""),
    ]
    assert events[0].data == {"action": "04k1", "fields": {"Id": "001000000000001", "Name": "Zoë & Co", "SKU1__c": "true"}}


def test_a_hundred_notifications_are_taken_and_one_more_is_not() -> None:
    assert len(parse(request(message(*map(notification, range(100)))))) == 100
    with pytest.raises(Permanent, match="101 notifications"):
        parse(request(message(*map(notification, range(101)))))


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha" * 50}">' for n in range(9))
BAD_XML = {
    "a bomb of entities": message("&a8;", head=f"<!DOCTYPE x [{LAUGHS}]>"),
    "an entity from a file": message("&x;", head='<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "a document type": message(head='<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'),
    "200,000 levels": message("<a>" * 200_000),
    "200,000 levels that end": message("<a>" * 200_000 + "</a>" * 200_000),
    "very many elements": message("<a/>" * 300_000),
    "another message": b"<Envelope><Body/></Envelope>",
    "a page": b"<!doctype html><html><body>Sign in</body></html>",
    "cut off": message(notification(1))[:-40],
    "an unknown encoding": b'<?xml version="1.0" encoding="x-none"?><a/>',
    "wrong bytes": message("<a>\xff</a>").replace(b"\xc3\xbf", b"\xff"),
}


@pytest.mark.parametrize("what", BAD_XML)
def test_xml_that_is_no_message_is_refused_soon_and_in_little_memory(what: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Permanent):
            parse(request(BAD_XML[what]))
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"", b"7", b'"text"', b"null", b"[1]", b'[{}, "x"]', b"[" * 200_000, b"\xff\xfe", b"{}{}"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Permanent):
        parse(request(body))


def test_a_list_without_end_is_refused() -> None:
    with pytest.raises(Permanent):
        parse(request(orjson.dumps([{}] * 1001)))


def test_a_text_cut_in_the_middle_of_a_character_is_read_all_the_same() -> None:
    [event] = parse(request(b'{"Id": "a", "SKU1": true, "Name": "x\\ud83d"}'))
    assert event.data == {"Id": "a", "SKU1": True, "Name": "x?"}


def test_only_the_very_words_acknowledge_a_message() -> None:
    told = request(message(notification(1)), soapaction='""')
    stored, again = acknowledge(told, Receipt.STORED), acknowledge(told, Receipt.FAILED)

    assert (stored.status, again.status) == (200, 503)
    assert stored.content_type.startswith("text/xml")
    for answer, word in ((stored, "true"), (again, "false")):
        [ack] = ElementTree.fromstring(answer.body).findall(".//{http://soap.sforce.com/2005/09/outbound}Ack")
        assert ack.text == word


def test_a_message_that_was_too_large_to_be_read_is_still_answered_as_a_message() -> None:
    answer = acknowledge(request(b"", soapaction='""'), Receipt.TOO_LARGE)
    assert (answer.status, b"<Ack>false</Ack>" in answer.body) == (413, True)


def test_json_is_answered_with_json_and_what_is_kept_is_not_asked_for_again() -> None:
    answers = {receipt: acknowledge(request(b"{}"), receipt) for receipt in Receipt}
    assert {receipt: answer.status for receipt, answer in answers.items()} == {
        Receipt.STORED: 200,
        Receipt.REFUSED: 401,
        Receipt.UNREADABLE: 200,
        Receipt.TOO_LARGE: 413,
        Receipt.FAILED: 503,
    }
    assert orjson.loads(answers[Receipt.STORED].body) == {"accepted": True}


@pytest.mark.parametrize(
    ("query", "headers", "word"),
    [
        ("", {}, Verification.UNSIGNED),
        ("", {"authorization": "Basic eDp5"}, Verification.UNSIGNED),
        ("?secret=s%2Bcret%20of%20ours", {}, Verification.GENUINE),
        ("?secret=other", {}, Verification.FORGED),
        ("?secret=", {}, Verification.UNSIGNED),
        ("", {"x-syncline-secret": "s+cret of ours"}, Verification.GENUINE),
        ("", {"x-syncline-secret": ""}, Verification.FORGED),
        ("", {"authorization": "bearer s+cret of ours"}, Verification.GENUINE),
        ("", {"authorization": "Bearer s+cret of our"}, Verification.FORGED),
        ("?" + "&".join(["secret=a"] * 60), {}, Verification.UNSIGNED),
    ],
)
def test_a_secret_is_found_in_a_header_or_at_the_end_of_the_address(
    query: str, headers: dict[str, str], word: Verification
) -> None:
    assert verify(request(b"{}", query, **headers), ["newer", "s+cret of ours"]) is word


def test_an_empty_secret_lets_nobody_in() -> None:
    assert verify(request(b"{}", **{"x-syncline-secret": ""}), [""]) is Verification.FORGED


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("001000000000042", "001000000000042AAA"),
        ("0013000000AbCdE", "0013000000AbCdEAAV"),
        ("ABCDEFGHIJKLMNO", "ABCDEFGHIJKLMNO555"),
    ],
)
def test_short_ids_are_made_long(short: str, long: str) -> None:
    assert (full(short), full(long)) == (long, long)


@pytest.mark.parametrize("value", [None, 7, "", "001", "00100000000004é", "001000000000042AA", "001' OR Id != '"])
def test_what_is_no_id_is_none(value: Any) -> None:
    assert full(value) == ""
