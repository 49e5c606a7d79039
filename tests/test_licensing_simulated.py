"""The simulator posts to the address that customers configured; what arrives makes the licences that it expects."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings
from syncline.connections import api_keys
from syncline.connections.api_keys import ApiKey
from syncline.contract import LocalChange, Op, Status
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent
from syncline.models import Connection
from syncline.runs import inbox
from syncline_licensing.datasets import CustomerDataset
from syncline_licensing.expected import mismatches
from syncline_licensing.models import Customer, LicenseChange, Sku
from syncline_salesforce.sandbox.simulate import simulate

pytestmark = pytest.mark.django_db(transaction=True)
MESSAGES = 400
CODES = ("SKU1", "SKU2", "SKU3")


@pytest.fixture
def address(live_server: Any) -> Iterator[str]:
    with override_settings(SYNCLINE_PUBLIC_URL=live_server.url, SECURE_SSL_REDIRECT=False, ALLOWED_HOSTS=["*"]):
        owner = User.objects.create_superuser("ann")
        connection = Connection.objects.create(connector="salesforce", name="c", owner=owner)
        addresses.add_alias(addresses.make(connection), "salesforce/webhook")
        yield f"{live_server.url}/salesforce/webhook"


def question(address: str, customer: str, sku: str) -> str:
    return address.replace("/salesforce/webhook", f"/api/v1/entitlements?customer={customer}&sku={sku}")


def as_change(event: InboxEvent) -> LocalChange:
    """As the mapping of the topic makes it."""
    told = event.data
    values = {
        "salesforce_id": told["Id"],
        "name": told["Name"],
        "account_manager": told["AccountManager"],
        "sales_engineer_id": told["SalesEngineerId"],
        "signed_tos": told["SignedTos"],
        "flags": orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode(),
    }
    return LocalChange(str(event.pk), Op.UPSERT, None, values, event.pk, event.received_at, f"{event.connection_id}:{event.pk}")


def test_what_the_simulator_posts_makes_the_licences_it_expects(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for code in CODES:
        Sku.objects.create(code=code)
    simulate(url=address, messages=MESSAGES, rate=0, concurrency=4, duplicates=0.1, reordered=0.1, bursts=0.1, malformed=0.05)
    told = json.loads(capsys.readouterr().out)
    read_all()

    assert Delivery.objects.filter(state="unreadable").count() == told["malformed"] > 0
    assert all(Delivery.objects.filter(state="unreadable").values_list("cause", flat=True))
    events = list(InboxEvent.objects.order_by("pk"))
    assert len(events) == told["acknowledged"] == MESSAGES - told["malformed"]
    changes = [as_change(event) for event in events]
    statuses = take_in(changes)
    assert mismatches(told["customers"]) == []
    assert Customer.objects.count() == len(told["customers"]) == 10
    assert Status.REJECTED not in statuses

    key = api_keys.issue(ApiKey(label="shop", user=Connection.objects.get().owner))
    for who, expected in told["customers"].items():
        asked = [requests.get(question(address, who, code), headers={"X-Api-Key": key}, timeout=10).json() for code in CODES]
        assert [one["sku"] for one in asked if one["entitled"]] == (expected["skus"] if expected["signed_tos"] else [])

    before = LicenseChange.objects.count()
    assert set(take_in(changes)) == {Status.UNCHANGED}
    assert LicenseChange.objects.count() == before


def test_messages_that_come_in_any_order_and_more_than_once_end_the_same(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in CODES:
        Sku.objects.create(code=code)
    simulate(url=address, messages=MESSAGES, rate=0, duplicates=0.2)
    told = json.loads(capsys.readouterr().out)
    read_all()
    changes = [as_change(event) for event in InboxEvent.objects.order_by("pk")]
    chance = random.Random(5)
    chance.shuffle(changes)
    take_in(changes)
    chance.shuffle(changes)
    take_in(changes)
    assert mismatches(told["customers"]) == []


def read_all() -> None:
    """As a worker does: the connector's deliveries are stored unread."""
    while inbox.read_stored():
        pass


def take_in(changes: list[LocalChange]) -> list[Status]:
    statuses: list[Status] = []
    for first in range(0, len(changes), 70):
        with transaction.atomic():
            written = CustomerDataset().write(changes[first : first + 70], None)  # type: ignore[arg-type]
        statuses += [one.status for one in written]
    return statuses
