"""The connector keeps the contract: every check of the suite, against the sandbox, for two kinds of records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Final

from syncline.contract import (
    ConnectorSpec,
    DatasetInfo,
    Event,
    EventKind,
    Field,
    MatchStep,
    SuggestedMapping,
    Value,
    WebhookRequest,
)
from syncline.contract.testing import Delivery, Server, Target, conformance
from syncline.contract.testing.suite import CHECKS
from syncline_salesforce.connector import Salesforce
from syncline_salesforce.mapping import COMPANY, PERSON
from syncline_salesforce.sandbox.process import RunningSandbox

ORG: Final = "00D000000000001EAA"
NO_NAMES: Final = (
    "Salesforce's jobs have no names. What may have arrived is upserted by our own key once more, which changes nothing."
)
EXCUSED: Final = {
    "bulk-once": NO_NAMES,
    "associations": "Salesforce's records refer to others by fields, which are mapped like any other.",
    "create-properties": "People make fields, and grant them: see the README.",
    "history": "Salesforce keeps histories of a few fields in objects of their own.",
    **{name: "What changes is followed; Salesforce has no logs beside that." for name in CHECKS if name.startswith("log-")},
}
CHECKBOX: Final = "A checkbox has no third state: None becomes false, as test_salesforce_push.py shows."


def sandbox(kind: str, touched: str) -> Callable[[ConnectorSpec], AbstractContextManager[Server]]:
    """`touched`: the field that somebody else changes of many records at one moment."""

    @contextmanager
    def server(connector: ConnectorSpec) -> Iterator[Server]:
        with RunningSandbox() as running:
            yield Server(
                url=running.url,
                headers={"Authorization": f"Bearer {running.token}"},
                settings={**connector.sandbox().settings, "pubsub_url": running.pubsub_url},
                settle=running.admin.advance,
                credentials={"token": running.token},
                touch=lambda ids: running.admin.edit(kind, {touched: "Touched {n}"}, ids),
                merge=lambda into, gone: running.admin.merge(kind, into, gone),
            )

    return server


def dataset(key: str, suggested: SuggestedMapping) -> DatasetInfo:
    return DatasetInfo(key, key, tuple(Field(rule.source, rule.source) for rule in suggested.rules))


def message(*notifications: str) -> bytes:
    told = "".join(notifications)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f'<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{ORG}</OrganizationId>'
        '<ActionId>04k000000000001AAA</ActionId><SessionId xsi:nil="true"/><EnterpriseUrl>https://x</EnterpriseUrl>'
        f"<PartnerUrl>https://x</PartnerUrl>{told}</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def notification(key: str, kind: str, record_id: str) -> str:
    return (
        f'<Notification><Id>{key}</Id><sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{record_id}</sf:Id><sf:Name>Zoë &amp; Co</sf:Name></sObject></Notification>"
    )


def in_a_header(secret: str, _: WebhookRequest) -> dict[str, str]:
    return {"X-Syncline-Secret": secret}


def as_bearer(secret: str, _: WebhookRequest) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


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
FLOW = {"attributes": {"type": "Account"}, "Id": "001000000000042", "OrganizationId": ORG, "Name": "Acme"}
ACCOUNT_CHANGED = Event(EventKind.CHANGED, account=ORG, object_type="Account", remote_id="001000000000042AAA")
WEBHOOKS = (
    Delivery(
        sign=in_a_header,
        signs=frozenset(),
        headers={"content-type": "text/xml; charset=utf-8", "soapaction": '""'},
        body=message(notification("04l1", "Account", "001000000000042AAA"), "<Notification><Id>04l2</Id></Notification>"),
        events=(replace(ACCOUNT_CHANGED, key="04l1"), Event(EventKind.UNKNOWN, key="04l2", account=ORG)),
        challenge=b"<Ack>true</Ack>",
    ),
    Delivery(
        sign=as_bearer,
        signs=frozenset(),
        headers={},
        body=json.dumps(CUSTOMER).encode(),
        events=(Event(EventKind.MESSAGE, object_type="Customer", remote_id=str(CUSTOMER["Id"]), data=CUSTOMER),),
    ),
    Delivery(sign=as_bearer, signs=frozenset(), body=json.dumps(FLOW).encode(), events=(ACCOUNT_CHANGED,)),
    Delivery(
        sign=as_bearer,
        signs=frozenset(),
        body=json.dumps({"OrganizationId": ORG, "weather": "fine"}).encode(),
        events=(Event(EventKind.UNKNOWN, account=ORG),),
    ),
)


def account(n: int) -> dict[str, Value]:
    return {
        "Name": f"Company {n}",
        "Contact_Email__c": f"company{n}@example.com",
        "NumberOfEmployees": 40 + n,
        "AnnualRevenue": Decimal("1234.56"),
        "Industry": "Banking",
        "Interests__c": ("Cloud", "Support"),
        "Founded__c": "1999-12-31",
        "Last_Call__c": "2026-02-28T23:59:59.000Z",
    }


ACCOUNTS = Target(
    server=sandbox("Account", "Name"),
    object_type="Account",
    record=account,
    empty_pages=(lambda page: {**page, "records": [], "totalSize": 0, "done": True}, lambda _: {"records": []}),
    webhooks=WEBHOOKS,
    rejected={"Industry": "Alchemy"},
    refusal=[{"message": "The requested resource is no longer available", "errorCode": "INVALID_INPUT"}],
    missing_id="001zzzzzzzzzzzzAAA",
    match=MatchStep("Name"),
    dataset=dataset("companies.company", COMPANY),
    reads=r"/composite/(batch|sobjects/[A-Za-z_]+)$",
    skip=EXCUSED,
)
CONTACTS = replace(
    ACCOUNTS,
    server=sandbox("Contact", "LastName"),
    object_type="Contact",
    record=lambda n: {
        "LastName": f"Person {n}",
        "Email": f"person{n}@example.com",
        "Birthdate": "1999-12-31",
        "HasOptedOutOfEmail": True,
    },
    rejected={"Email": "no address"},
    missing_id="003zzzzzzzzzzzzAAA",
    match=MatchStep("Email", normalise="email"),
    dataset=dataset("companies.person", PERSON),
    skip={**EXCUSED, "clear": CHECKBOX},
)
TestAccounts = conformance(Salesforce, ACCOUNTS)
TestContacts = conformance(Salesforce, CONTACTS)
