"""Salesforce and the host: an account is connected, an ended session is renewed, and what Salesforce tells arrives once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client, override_settings
from syncline.catalog import service as catalog
from syncline.connections import service
from syncline.connections.tokens import read
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent, Refusal, WebhookAddress
from syncline.ledger.models import Link
from syncline.models import Connection, Registration
from syncline.runs import execute, inbox
from syncline.runs.tick import tick
from syncline.syncs import publish
from syncline.syncs.models import Sync
from syncline_companies.models import Company
from syncline_host.demo.scenario import run_to_end
from syncline_salesforce.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "open-sesame-canary"
CUSTOMER = {
    "AccountManager": "Ada",
    "Id": "6f8c7d8e",
    "Name": "a.example",
    "SalesEngineerId": "7",
    "SignedTos": True,
    "SKU1": True,
}


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


@pytest.fixture
def connection(
    client: Client, sandbox: RunningSandbox, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    """Connected as a browser does it: the vendor's page and back."""
    monkeypatch.setattr(inbox, "LINGER", 0)
    with override_settings(
        SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUBLIC_URL=live_server.url, SECURE_SSL_REDIRECT=False, ALLOWED_HOSTS=["*"]
    ):
        owner = User.objects.create_superuser("ann")
        app = Registration.objects.create(
            connector="salesforce",
            name="app",
            client_id=sandbox.client_id,
            client_secret=sandbox.client_secret,
            settings={"instance_url": sandbox.url},
        )
        made = Connection.objects.create(connector="salesforce", name="c", owner=owner, registration=app)
        client.force_login(owner)
        there = client.post(f"/oauth/start/{made.pk}/")
        agreed = requests.get(there["Location"], allow_redirects=False, timeout=10)
        back = client.get(agreed.headers["Location"].removeprefix(live_server.url))
        assert back.status_code == 302
        made.refresh_from_db()
        yield made


@pytest.fixture
def address(connection: Connection) -> WebhookAddress:
    return addresses.make(connection)


def url_of(address: WebhookAddress) -> str:
    return addresses.url(address.names.get(current=True).slug)


def until(reached: Callable[[], bool], within: float = 15.0) -> None:
    end = time.monotonic() + within
    while not reached():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.05)


def test_an_account_is_connected_and_an_ended_session_renewed(connection: Connection, sandbox: RunningSandbox) -> None:
    assert (connection.state, connection.state_reason, connection.account_name) == ("ok", "", "Sandbox")
    assert {"Account", "Contact", "Customer__c"} == set(catalog.refresh(connection).added)
    before = read(connection.pk)
    sandbox.admin.config(expire=True)
    assert service.check(connection).id == connection.account_id
    assert read(connection.pk).version == before.version + 1


def sync_of(connection: Connection, direction: str) -> Sync:
    catalog.refresh(connection)
    made = Sync.objects.create(
        name="s",
        connection=connection,
        dataset="companies.company",
        object_type="Account",
        direction=direction,
        created_by=connection.owner,
    )
    publish.apply_suggestion(made)
    publish.publish(made, connection.owner)
    made.refresh_from_db()
    return made


def test_companies_become_accounts_once_and_find_those_that_are_there(connection: Connection, sandbox: RunningSandbox) -> None:
    [there] = sandbox.admin.seed("Account", [{"Name": "Acme Inc", "Website": "https://www.acme.example/"}])
    Company.objects.create(name="Acme", website="acme.example")
    Company.objects.bulk_create(Company(name=f"C{n}", website=f"c{n}.example") for n in range(250))
    sync = sync_of(connection, "push")

    first, second = run_to_end(sync), run_to_end(sync)

    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert Link.objects.count() == 251
    assert Link.objects.get(remote_id=there).local_key == str(Company.objects.get(name="Acme").pk)
    writes = [call for call in sandbox.admin.calls() if call.endswith("/composite/sobjects") or "Syncline_Key__c" in call]
    assert len(writes) == 3, writes


def test_accounts_become_companies_and_a_message_leads_to_a_pull_of_just_that_record(
    connection: Connection, address: WebhookAddress, sandbox: RunningSandbox
) -> None:
    ids = sandbox.admin.seed("Account", [{"Name": f"A{n}", "Website": f"a{n}.example"} for n in range(30)])
    run_to_end(sync_of(connection, "pull"))
    assert Company.objects.count() == 30
    sandbox.admin.subscribe(url_of(address), "Account")
    sandbox.admin.calls()

    sandbox.admin.edit("Account", {"Description": "told"}, ids[:2])
    until(lambda: worked() and Company.objects.filter(description="told").count() == 2)

    assert [call for call in sandbox.admin.calls() if call.startswith("GET /query")] == []


def worked() -> bool:
    """Does what a worker does."""
    inbox.dispatch()
    execute.work(1.0)
    tick()
    return True


def test_outbound_messages_are_acknowledged_and_each_notification_has_one_effect(
    connection: Connection, address: WebhookAddress, sandbox: RunningSandbox
) -> None:
    sandbox.admin.subscribe(url_of(address), "Account", "Name", duplicates=True)

    ids = sandbox.admin.seed("Account", [{"Name": f"n{number}"} for number in range(120)])
    until(lambda: sandbox.admin.messages()["acknowledged"] == 120)
    assert inbox.read_stored() == 4

    assert sandbox.admin.messages()["refused"] == 0
    assert sorted(InboxEvent.objects.values_list("remote_id", flat=True)) == sorted(ids)
    assert set(InboxEvent.objects.values_list("connection", "state", "object_type")) == {(connection.pk, "waiting", "Account")}
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["read", "read", "repeated", "repeated"]


def test_a_message_that_was_refused_comes_again_when_the_secret_is_right(
    address: WebhookAddress, sandbox: RunningSandbox
) -> None:
    addresses.add_secret(address, SECRET)
    sandbox.admin.subscribe(url_of(address), "Account")
    sandbox.admin.seed("Account", [{"Name": "a"}])
    until(lambda: sandbox.admin.messages()["refused"] == 1)
    assert dict(Refusal.objects.values_list("cause", "count")) == {"unsigned": 1}

    sandbox.admin.subscribe(f"{url_of(address)}?secret={SECRET}", "Account")
    sandbox.admin.advance(30)
    until(lambda: sandbox.admin.messages()["acknowledged"] == 1)

    assert "canary" not in Delivery.objects.get().url


def test_customer_changes_without_a_content_type_are_kept_whole_and_each_counts(
    connection: Connection, address: WebhookAddress
) -> None:
    for body in (CUSTOMER, {**CUSTOMER, "SKU1": False}, CUSTOMER):
        answer = requests.post(url_of(address), json.dumps(body).encode(), timeout=10)
        assert "Content-Type" not in answer.request.headers
        assert (answer.status_code, answer.json()) == (200, {"accepted": True})
    assert inbox.read_stored() == 3

    events = InboxEvent.objects.order_by("pk")
    assert [event.data["SKU1"] for event in events] == [True, False, True]
    assert {(event.connection_id, event.object_type, event.remote_id) for event in events} == {
        (connection.pk, "Customer", "6f8c7d8e")
    }


def test_the_address_that_customers_configured_leads_to_the_connection(
    connection: Connection, address: WebhookAddress, live_server: Any
) -> None:
    addresses.add_alias(address, "salesforce/webhook")
    addresses.add_secret(address, SECRET)
    there = f"{live_server.url}/salesforce/webhook"
    answers = [requests.post(url, json.dumps(CUSTOMER).encode(), timeout=10) for url in (there, f"{there}?secret={SECRET}")]

    assert [answer.status_code for answer in answers] == [401, 200]
    inbox.read_stored()
    [event] = InboxEvent.objects.all()
    assert (event.connection_id, event.kind, event.remote_id, event.data) == (connection.pk, "message", "6f8c7d8e", CUSTOMER)
    assert "canary" not in Delivery.objects.get().url


def test_malformed_bodies_are_kept_with_the_reason_and_block_nothing(address: WebhookAddress) -> None:
    bodies = [b"not JSON", b'{"Id": null, "SKU1": true}', b"[" * 200_000, b"<a>" * 200_000, json.dumps(CUSTOMER).encode()]
    assert {requests.post(url_of(address), body, timeout=10).status_code for body in bodies} == {200}
    assert inbox.read_stored() == 5

    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["unreadable"] * 4 + ["read"]
    assert all(Delivery.objects.filter(state="unreadable").values_list("cause", flat=True))
    assert InboxEvent.objects.count() == 1
