"""The connector keeps the contract: every check of the suite, against the sandbox, for two kinds of records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from hubspot.utils.signature import Signature
from syncline.contract import (
    ConnectorSpec,
    DatasetInfo,
    Event,
    EventKind,
    Field,
    Kind,
    MatchStep,
    Property,
    SuggestedMapping,
    Value,
    WebhookRequest,
)
from syncline.contract.testing import Delivery, Server, Target, conformance
from syncline.contract.testing.suite import CHECKS
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.mapping import COMPANY, PERSON
from syncline_hubspot.sandbox.process import RunningSandbox


def sandbox(object_type: str, touched: str) -> Callable[[ConnectorSpec], AbstractContextManager[Server]]:
    """`touched`: the property that somebody else changes of many records at one moment."""

    @contextmanager
    def server(connector: ConnectorSpec) -> Iterator[Server]:
        with RunningSandbox(limits=False) as running:
            yield Server(
                url=running.url,
                headers={"Authorization": f"Bearer {running.token}"},
                settings=connector.sandbox().settings,
                settle=running.admin.advance,
                touch=lambda ids: running.admin.edit(object_type, {touched: "Touched {n}"}, list(ids)),
                merge=lambda into, gone: running.admin.merge(object_type, gone, into),
            )

    return server


def dataset(key: str, suggested: SuggestedMapping) -> DatasetInfo:
    return DatasetInfo(key, key, tuple(Field(rule.source, rule.source) for rule in suggested.rules if rule.source))


def company(n: int) -> dict[str, Value]:
    return {
        "name": f"Company {n}",
        "domain": f"company{n}.example.com",
        "numberofemployees": 40 + n,
        "is_public": True,
        "closedate": "2026-02-28T23:59:59.123Z",
        "founded_on": "1999-12-31",
        "industry": "BANKING",
        "web_technologies": ("shopify", "wordpress"),
    }


def signed(version: str, secret: str, request: WebhookRequest) -> dict[str, str]:
    """By HubSpot's own library: no mistake of the connector's can be in it too."""
    stamp = str(int(request.received_at.timestamp() * 1000))
    body, url, method = request.body.decode(), request.url, request.method
    made = Signature.get_signature(secret, body, version, http_uri=url, http_method=method, timestamp=stamp)
    if version == "v3":
        return {"X-HubSpot-Signature-v3": made, "X-HubSpot-Request-Timestamp": stamp}
    return {"X-HubSpot-Signature": made, "X-HubSpot-Signature-Version": version}


def told(number: int, kind: str, **more: Any) -> dict[str, Any]:
    general = {"subscriptionId": 7, "portalId": 147, "appId": 1, "occurredAt": 1_764_158_400_123, "attemptNumber": 0}
    return {"eventId": number, "subscriptionType": kind, **general, **more}


def batch(attempt: int) -> bytes:
    events = [
        told(1, "company.propertyChange", objectId=42, propertyName="name", propertyValue="Ours"),
        told(2, "contact.merge", objectId=9, primaryObjectId=7, mergedObjectIds=[8], newObjectId=9),
        told(
            3, "object.associationChange", objectTypeId="0-2", associationType="COMPANY_TO_CONTACT", fromObjectId=42, toObjectId=7
        ),
        told(4, "company.serenade", objectId=42),
    ]
    return json.dumps([{**event, "attemptNumber": attempt} for event in events]).encode()


CHANGED = Event(EventKind.CHANGED, account="147", object_type="companies", remote_id="42")
FLOW = {"objectId": 42, "objectTypeId": "0-2", "origin": {"portalId": 147}}
WEBHOOKS = (
    Delivery(
        sign=partial(signed, "v3"),
        body=batch(0),
        again=batch(3),
        events=(
            replace(CHANGED, key="1:7:1764158400123", occurred_at=datetime(2025, 11, 26, 12, 0, 0, 123000, UTC)),
            Event(EventKind.MERGED, account="147", object_type="contacts", remote_id="9", others=("7", "8")),
            replace(CHANGED, kind=EventKind.ASSOCIATED),
            replace(CHANGED, kind=EventKind.UNKNOWN),
        ),
    ),
    Delivery(
        sign=partial(signed, "v2"),
        signs=frozenset({"method", "url", "body"}),
        body=json.dumps(FLOW).encode(),
        events=(CHANGED,),
    ),
    Delivery(sign=partial(signed, "v1"), signs=frozenset({"body"}), body=json.dumps(FLOW).encode(), events=(CHANGED,)),
)
COMPANIES = Target(
    server=sandbox("companies", "name"),
    object_type="companies",
    record=company,
    partner=("contacts", lambda n: {"email": f"partner{n}@example.com"}),
    empty_pages=(lambda page: {**page, "results": []}, lambda _: {"results": []}),
    webhooks=WEBHOOKS,
    rejected={"industry": "ALCHEMY"},
    refusal={"status": "error", "message": "Invalid input JSON", "correlationId": "7b1e", "category": "VALIDATION_ERROR"},
    missing_id="999999999999",
    create=(
        Property("founded_on", "Founded on", Kind.DATE, {"type": "string", "format": "date"}),
        Property("reach", "Reach", Kind.NUMBER, {"type": "number"}),
    ),
    dataset=dataset("companies.company", COMPANY),
    reads=r"/(search|batch/read)$",
    skip={
        "follow": "HubSpot has no stream of changes: it tells of them by webhooks.",
        **{name: "HubSpot has no logs." for name in CHECKS if name.startswith("log-")},
    },
)
CONTACTS = replace(
    COMPANIES,
    server=sandbox("contacts", "firstname"),
    object_type="contacts",
    partner=("companies", lambda n: {"name": f"Partner {n}"}),
    record=lambda n: {
        "email": f"person{n}@example.com",
        "firstname": f"Person {n}",
        "founded_on": "1999-12-31",
        "reach": Decimal("0.25"),
        "closedate": "2026-02-28T23:59:59.123Z",
        "hs_seniority": "director",
    },
    rejected={"email": "no address"},
    dataset=dataset("companies.person", PERSON),
    match=MatchStep("email", normalise="email"),
)
TestCompanies = conformance(HubSpot, COMPANIES)
TestContacts = conformance(HubSpot, CONTACTS)
