"""HubSpot's deliveries: who signed them, what they tell, how they are answered."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import hmac
import json
from typing import Any

import orjson
import pytest
from hubspot.utils.signature import Signature
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import Event, EventKind, Permanent, Receipt, Verification, WebhookRequest
from syncline_hubspot.connector import HubSpot

pytestmark = pytest.mark.unit

HUB = HubSpot()
NOW = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)
URL = "https://syncline.example/hooks/hubspot/abc"
SECRET = "s3cret-of-the-app"
BODY = b'[{"eventId":1}]'


def ms(moment: dt.datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def v3(body: bytes, *, secret: str = SECRET, method: str = "POST", url: str = URL, stamp: str = "") -> dict[str, str]:
    stamp = stamp or ms(NOW)
    mac = hmac.new(secret.encode(), method.encode() + url.encode() + body + stamp.encode(), hashlib.sha256)
    return {"x-hubspot-signature-v3": base64.b64encode(mac.digest()).decode(), "x-hubspot-request-timestamp": stamp}


def request(body: bytes = BODY, headers: dict[str, str] | None = None, *, url: str = URL, method: str = "POST") -> WebhookRequest:
    return WebhookRequest(method, url, headers or {}, body, NOW)


def judged(delivery: WebhookRequest, *secrets: str) -> Verification:
    return HUB.verify(request=delivery, secrets=secrets or (SECRET,))


def events(body: Any, **headers: str) -> list[Event]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return list(HUB.parse(request=request(raw, headers)))


def told(**more: Any) -> dict[str, Any]:
    return {
        "eventId": 100,
        "subscriptionId": 7,
        "portalId": 147,
        "appId": 1,
        "occurredAt": 1_764_158_400_123,
        "subscriptionType": "company.propertyChange",
        "attemptNumber": 0,
        "objectId": 42,
        "changeSource": "CRM_UI",
        "propertyName": "name",
        "propertyValue": "secret value",
        **more,
    }


def test_what_hubspot_signed_is_genuine() -> None:
    assert judged(request(headers=v3(BODY))) is Verification.GENUINE


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_signatures_are_those_that_hubspot_s_own_library_makes(version: str) -> None:
    """The library is the second opinion: no mistake in this file's own signing can agree with one in the connector."""
    made = Signature.get_signature(SECRET, BODY.decode(), version, http_uri=URL, http_method="POST", timestamp=ms(NOW))
    if version == "v3":
        headers = {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": ms(NOW)}
    else:
        headers = {"x-hubspot-signature": made, "x-hubspot-signature-version": version}
    assert judged(request(headers=headers)) is Verification.GENUINE


@pytest.mark.parametrize(
    "delivery",
    [
        request(b'[{"eventId":2}]', v3(BODY)),
        request(BODY + b"\n", v3(BODY)),
        request(headers=v3(BODY), url=URL + "?x=1"),
        request(headers=v3(BODY), method="PUT"),
        request(headers=v3(BODY, secret="another")),
        request(headers={**v3(BODY), "x-hubspot-request-timestamp": str(int(ms(NOW)) + 1)}),
    ],
    ids=["body", "white space", "address", "method", "secret", "time"],
)
def test_whatever_was_changed_after_signing_is_forged(delivery: WebhookRequest) -> None:
    assert judged(delivery) is Verification.FORGED


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (-300, Verification.GENUINE),
        (-301, Verification.STALE),
        (60, Verification.GENUINE),
        (61, Verification.STALE),
        (86_400, Verification.STALE),
    ],
)
def test_five_minutes_back_and_one_ahead_are_allowed(seconds: int, verdict: Verification) -> None:
    stamp = ms(NOW + dt.timedelta(seconds=seconds))
    assert judged(request(headers=v3(BODY, stamp=stamp))) is verdict


def test_while_secrets_are_exchanged_each_of_them_counts() -> None:
    delivery = request(headers=v3(BODY, secret="old"))
    assert judged(delivery, "new", "old") is Verification.GENUINE
    assert judged(delivery, "new", "newer") is Verification.FORGED


def test_an_empty_secret_signs_nothing() -> None:
    assert judged(request(headers=v3(BODY, secret="")), "") is Verification.FORGED


def test_only_the_listed_escapes_of_the_address_are_decoded() -> None:
    called = "https://a.example/h%2Fk?x=%40a%20b%2520%26&y=%C3%BC%3a"
    signed = "https://a.example/h/k?x=@a%20b%2520%26&y=%C3%BC:"
    assert judged(request(headers=v3(BODY, url=signed), url=called)) is Verification.GENUINE
    assert judged(request(headers=v3(BODY, url="https://a.example/h/k?x=@a b%20&&y=ü:"), url=called)) is Verification.FORGED


def test_bytes_are_judged_that_are_no_text() -> None:
    body = b"\xff\xfe[1]\x00"
    assert judged(request(body, v3(body))) is Verification.GENUINE


@pytest.mark.parametrize(
    "headers",
    [
        {**v3(BODY), "x-hubspot-signature-v3": "not base64!"},
        {**v3(BODY), "x-hubspot-signature-v3": "ü" * 44},
        {**v3(BODY), "x-hubspot-signature-v3": base64.b64encode(b"short").decode()},
        {**v3(BODY), "x-hubspot-signature-v3": ""},
        {"x-hubspot-signature-v3": v3(BODY)["x-hubspot-signature-v3"]},
        {**v3(BODY), "x-hubspot-request-timestamp": "yesterday"},
        {**v3(BODY), "x-hubspot-request-timestamp": "9" * 5000},
        {**v3(BODY), "x-hubspot-request-timestamp": "١٧٦٤١٥٨٤٠٠٠٠٠"},
        {**v3(BODY), "x-hubspot-request-timestamp": "-1764158400000"},
        {"x-hubspot-signature": "f" * 64},
        {"x-hubspot-signature": "f" * 64, "x-hubspot-signature-version": "v9"},
        {"x-hubspot-signature": "zz", "x-hubspot-signature-version": "v1"},
    ],
)
def test_headers_that_cannot_be_read_are_malformed(headers: dict[str, str]) -> None:
    assert judged(request(headers=headers)) is Verification.MALFORMED


def test_without_a_signature_it_is_unsigned() -> None:
    assert judged(request(headers={"content-type": "application/json"})) is Verification.UNSIGNED


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_header_breaks_the_verification(signature: str, stamp: str) -> None:
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": stamp}
    assert judged(request(headers=headers)) is not Verification.GENUINE


def older(version: str, body: bytes = BODY) -> dict[str, str]:
    before = f"POST{URL}".encode() if version == "v2" else b""
    digest = hashlib.sha256(SECRET.encode() + before + body).hexdigest()
    return {"x-hubspot-signature": digest, "x-hubspot-signature-version": version}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_workflows_sign_in_the_older_ways(version: str) -> None:
    assert judged(request(headers=older(version))) is Verification.GENUINE
    assert judged(request(b"[]", older(version))) is Verification.FORGED
    moved = request(headers=older(version), url=URL + "/x")
    assert judged(moved) is (Verification.FORGED if version == "v2" else Verification.GENUINE)


def test_an_older_signature_does_not_help_a_bad_new_one() -> None:
    """HubSpot sends both; who has seen an old body could otherwise send it again for ever."""
    stale = v3(BODY, stamp=ms(NOW - dt.timedelta(hours=1)))
    assert judged(request(headers={**older("v1"), **stale})) is Verification.STALE


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("creation", EventKind.CREATED),
        ("propertyChange", EventKind.CHANGED),
        ("deletion", EventKind.DELETED),
        ("restore", EventKind.RESTORED),
        ("privacyDeletion", EventKind.ERASED),
        ("somethingNew", EventKind.UNKNOWN),
    ],
)
@pytest.mark.parametrize(
    ("prefix", "more", "object_type"),
    [
        ("company", {}, "companies"),
        ("contact", {}, "contacts"),
        ("deal", {}, "deals"),
        ("object", {"objectTypeId": "0-1"}, "contacts"),
        ("object", {"objectTypeId": "2-2000001"}, "2-2000001"),
    ],
)
def test_kinds_and_objects_in_the_old_and_the_new_form(
    word: str, kind: EventKind, prefix: str, more: dict[str, Any], object_type: str
) -> None:
    (event,) = events([told(subscriptionType=f"{prefix}.{word}", **more)])
    assert (event.kind, event.object_type, event.remote_id, event.account) == (kind, object_type, "42", "147")
    assert event.key == "100:7:1764158400123"
    assert event.occurred_at == dt.datetime(2025, 11, 26, 12, 0, 0, 123000, tzinfo=dt.UTC)
    assert event.data["subscriptionType"] == f"{prefix}.{word}"  # type: ignore[index, call-overload]


def test_the_values_of_properties_are_not_kept() -> None:
    (event,) = events([told()])
    assert "secret value" not in str(event)
    assert isinstance(event.data, dict)
    assert event.data["propertyName"] == "name"


def test_a_merge_names_the_survivor_and_all_that_went() -> None:
    merge = told(subscriptionType="company.merge", primaryObjectId=1, mergedObjectIds=[2, 3, "4"], objectId=9)
    (new,) = events([{**merge, "newObjectId": 9}])
    assert (new.kind, new.remote_id, new.others) == (EventKind.MERGED, "9", ("1", "2", "3", "4"))
    (kept,) = events([merge])
    assert (kept.remote_id, kept.others) == ("1", ("2", "3", "4"))


@pytest.mark.parametrize(
    ("word", "association", "remote_id", "others"),
    [
        ("contact", "CONTACT_TO_COMPANY", "5", ()),
        ("company", "CONTACT_TO_COMPANY", "6", ()),
        ("company", "COMPANY_TO_CONTACT", "5", ()),
        ("company", "COMPANY_TO_COMPANY", "5", ("6",)),
        ("deal", "", "5", ()),
    ],
)
def test_an_association_concerns_the_end_that_was_subscribed_to(
    word: str, association: str, remote_id: str, others: tuple[str, ...]
) -> None:
    raw = told(subscriptionType=f"{word}.associationChange", associationType=association, fromObjectId=5, toObjectId=6)
    del raw["objectId"]
    (event,) = events([raw])
    assert (event.kind, event.remote_id, event.others) == (EventKind.ASSOCIATED, remote_id, others)


@pytest.mark.parametrize(
    "odd",
    [
        told(objectId=None),
        told(objectId={"id": 1}),
        told(objectId=True),
        told(objectId=-1),
        told(objectId=1e300),
        told(subscriptionType=5),
        told(subscriptionType="ticket.creation"),
        told(subscriptionType="object.creation"),
        told(subscriptionType="company.merge", mergedObjectIds="2;3", objectId=None),
        5,
        None,
        [],
        "text",
    ],
)
def test_one_odd_event_is_kept_as_unknown_and_the_others_are_read(odd: Any) -> None:
    read = events([told(), odd, told(eventId=101)])
    assert [event.kind for event in read] == [EventKind.CHANGED, EventKind.UNKNOWN, EventKind.CHANGED]


@pytest.mark.parametrize("missing", ["eventId", "subscriptionId", "occurredAt"])
def test_without_all_its_parts_there_is_no_key(missing: str) -> None:
    assert events([told(**{missing: None})])[0].key == ""


def test_a_moment_out_of_all_calendars_is_none() -> None:
    assert events([told(occurredAt=10**18)])[0].occurred_at is None


def test_a_text_cut_within_a_character_spoils_nothing() -> None:
    body = orjson.dumps([told(), told(eventId=2)]).replace(b"secret value", b"cut \\ud83d")
    assert [event.key for event in events(body)] == ["100:7:1764158400123", "2:7:1764158400123"]


def test_texts_a_database_cannot_hold_or_a_page_cannot_show_are_cut() -> None:
    (event,) = events([told(sourceId="a\0b" + "x" * 5000, changeFlag={"deep": ["x" * 5000]})])
    assert isinstance(event.data, dict)
    assert "\0" not in str(event.data["sourceId"])
    assert all(len(str(value)) <= 200 for value in event.data.values())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"<html></html>",
        b"5",
        b'"text"',
        b"null",
        b"NaN",
        b"[1" + b"0" * 5000 + b",",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        gzip.compress(b"[]", mtime=0),
        "[]".encode("utf-16"),
        b"\xff\xfe",
        b"[] []",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_delivery_of_hubspot_s_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(Permanent, match="delivery"):
        events(body)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
def test_a_compressed_delivery_is_never_unpacked(encoding: str) -> None:
    with pytest.raises(Permanent, match="compressed"):
        events(gzip.compress(b"0" * 1000, mtime=0), **{"content-encoding": encoding})


def test_an_empty_list_tells_nothing() -> None:
    assert events(b"[]") == []


def test_a_single_event_without_its_list_is_read() -> None:
    assert [event.remote_id for event in events(told())] == ["42"]


@pytest.mark.parametrize(
    ("body", "kind", "object_type", "remote_id", "account"),
    [
        ({"vid": 5, "portal-id": 147, "properties": {}}, EventKind.CHANGED, "contacts", "5", "147"),
        ({"companyId": 6, "portalId": 147}, EventKind.CHANGED, "companies", "6", "147"),
        ({"objectId": 7, "objectTypeId": "0-3", "portalId": 147}, EventKind.CHANGED, "deals", "7", "147"),
        (
            {"origin": {"portalId": 1}, "object": {"objectId": 8, "objectType": "CONTACT"}},
            EventKind.CHANGED,
            "contacts",
            "8",
            "1",
        ),
        ({"made": "up"}, EventKind.UNKNOWN, "", "", ""),
        ({"vid": {"x": 1}, "object": 5, "origin": []}, EventKind.UNKNOWN, "", "", ""),
    ],
)
def test_a_workflow_s_object_names_its_record_as_far_as_it_goes(
    body: dict[str, Any], kind: EventKind, object_type: str, remote_id: str, account: str
) -> None:
    (event,) = events(body)
    assert (event.kind, event.object_type, event.remote_id) == (kind, object_type, remote_id)
    assert (event.account, event.key) == (account, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*told(), "mergedObjectIds"]), inner, max_size=6),
    max_leaves=20,
)


@given(st.lists(JSON | st.dictionaries(st.sampled_from([*told(), "newObjectId", "associationType"]), JSON), max_size=5))
def test_each_element_gives_one_event_whatever_it_is(body: list[Any]) -> None:
    assert len(events(json.dumps(body).encode())) == len(body)


@pytest.mark.parametrize(
    ("receipt", "status"),
    [
        (Receipt.STORED, 204),
        (Receipt.REFUSED, 401),
        (Receipt.UNREADABLE, 204),
        (Receipt.TOO_LARGE, 413),
        (Receipt.FAILED, 503),
    ],
)
def test_hubspot_is_told_to_deliver_again_only_what_was_not_kept(receipt: Receipt, status: int) -> None:
    answer = HUB.acknowledge(request=request(), events=[], receipt=receipt)
    assert (answer.status, answer.body) == (status, b"")
