"""The connector keeps the contract: every check of the suite, against the sandbox, for two kinds of records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

from syncline.contract import ConnectorSpec, DatasetInfo, Field, Kind, MatchStep, Property, SuggestedMapping
from syncline.contract.testing import Server, Target, conformance
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.mapping import COMPANY, PERSON
from syncline_hubspot.sandbox.process import RunningSandbox


@contextmanager
def sandbox(connector: ConnectorSpec) -> Iterator[Server]:
    with RunningSandbox(limits=False) as running:
        yield Server(
            url=running.url,
            headers={"Authorization": f"Bearer {running.token}"},
            settings=connector.sandbox().settings,
            settle=running.admin.advance,
        )


def dataset(key: str, suggested: SuggestedMapping) -> DatasetInfo:
    return DatasetInfo(key, key, tuple(Field(rule.source, rule.source) for rule in suggested.rules if rule.source))


COMPANIES = Target(
    server=sandbox,
    object_type="companies",
    record=lambda n: {
        "name": f"Company {n}",
        "domain": f"company{n}.example.com",
        "numberofemployees": 40 + n,
        "is_public": True,
        "closedate": "2026-02-28T23:59:59.123Z",
        "founded_on": "1999-12-31",
        "industry": "BANKING",
        "web_technologies": ("shopify", "wordpress"),
    },
    rejected={"industry": "ALCHEMY"},
    refusal={"status": "error", "message": "Invalid input JSON", "correlationId": "7b1e", "category": "VALIDATION_ERROR"},
    missing_id="999999999999",
    create=(
        Property("founded_on", "Founded on", Kind.DATE, {"type": "string", "format": "date"}),
        Property("reach", "Reach", Kind.NUMBER, {"type": "number"}),
    ),
    dataset=dataset("companies.company", COMPANY),
    reads=r"/(search|batch/read)$",
)
CONTACTS = replace(
    COMPANIES,
    object_type="contacts",
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
