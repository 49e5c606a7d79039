"""The connector keeps the contract: every check of the suite, against the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncline.contract import ConnectorSpec, DatasetInfo, Field, Kind, Property
from syncline.contract.testing import Server, Target, conformance
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.mapping import COMPANY
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


TestHubSpot = conformance(
    HubSpot,
    Target(
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
        create=(Property("founded_on", "Founded on", Kind.DATE, {"type": "string", "format": "date"}),),
        dataset=DatasetInfo("companies.company", "Companies", tuple(Field(r.source, r.source) for r in COMPANY.rules)),
        reads=r"/(search|batch/read)$",
    ),
)
