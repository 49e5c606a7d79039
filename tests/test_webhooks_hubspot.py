"""From HubSpot's webhook to our rows: the sandbox tells, the host verifies, stores and acknowledges, and pulls what it names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Sum
from django.test import override_settings
from django.utils import timezone
from syncline.catalog import service as catalog
from syncline.connections.models import Connection, Registration
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent, Refusal
from syncline.ledger.models import Link
from syncline.runs import execute, inbox
from syncline.runs.models import Run
from syncline.runs.tick import tick
from syncline.syncs.models import Sync
from syncline_companies.models import Company
from syncline_host.demo.connect import CLIENT_SECRET, connect_by_oauth
from syncline_host.demo.scenario import make_sync, run_to_end
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = ("company.creation", "company.propertyChange", "company.deletion", "company.merge", "company.restore")


@dataclass
class House:
    sandbox: RunningSandbox
    user: User
    connection: Connection
    url: str

    def sync(self, direction: str) -> Sync:
        return make_sync(self.connection, self.user, "companies.company", "companies", direction=direction)

    def until(self, reached: Callable[[], bool], within: float = 20.0) -> None:
        """Does what a worker does until it is so."""
        end = time.monotonic() + within
        while not reached():
            inbox.dispatch()
            execute.work(1.0)
            tick()
            assert time.monotonic() < end, "It did not happen in time."
            time.sleep(0.02)

    def rest(self) -> None:
        """Until no event waits, none is to come, and no run is going on."""

        def quiet() -> bool:
            told = self.sandbox.admin.webhooks()
            waits = InboxEvent.objects.filter(state="waiting").exists() or Run.objects.filter(state__in=Run.ACTIVE).exists()
            return not waits and not told.get("waiting") and not told.get("pending")

        self.until(quiet, 30.0)
        time.sleep(0.3)
        self.until(quiet, 30.0)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as running:
        yield running


@pytest.fixture
def house(sandbox: RunningSandbox, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(inbox, "LINGER", 0)
    with override_settings(
        SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUBLIC_URL=live_server.url, SECURE_SSL_REDIRECT=False, ALLOWED_HOSTS=["*"]
    ):
        sandbox.admin.reset()
        user = User.objects.create_superuser("ann", "ann@example.org", "x")
        connection = connect_by_oauth(user, sandbox)
        catalog.refresh(connection)
        address = addresses.make(Registration.objects.get())
        url = addresses.url(address.names.get().slug)
        sandbox.admin.subscribe(url, *EVENTS, secret=CLIENT_SECRET)
        yield House(sandbox, user, connection, url)
        sandbox.admin.unsubscribe()


def test_what_changes_there_is_here_a_moment_later(house: House) -> None:
    [acme, beta, gone] = house.sandbox.admin.seed(
        "companies", [{"name": n, "domain": f"{n.lower()}.example"} for n in ("Acme", "Beta", "Gone")]
    )
    run_to_end(house.sync("pull"))
    house.sandbox.admin.reset_counters()

    house.sandbox.admin.patch("companies", acme, {"description": "Anvils"})
    house.sandbox.admin.patch("companies", beta, {"name": "Beta Ltd"})
    house.sandbox.admin.delete("companies", gone)
    house.until(lambda: Company.objects.filter(description="Anvils").exists())
    house.rest()

    assert set(Company.objects.values_list("name", flat=True)) == {"Acme", "Beta Ltd", "Gone"}
    assert Link.objects.get(remote_id=gone).state == Link.State.GONE
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"done"}
    counted = house.sandbox.admin.counters()
    assert counted.get("list", 0) == 0, "Only the records that were told of are read."
    assert Delivery.objects.count() >= 1


def test_deliveries_twice_and_in_any_order_have_one_effect(house: House) -> None:
    ids = house.sandbox.admin.seed("companies", [{"name": f"C{n}", "domain": f"c{n}.example"} for n in range(30)])
    run_to_end(house.sync("pull"))
    house.sandbox.admin.config(webhook_duplicates=0.5, webhook_shuffle=True, webhook_batch=7)

    for round_ in range(3):
        for id_ in ids:
            house.sandbox.admin.patch("companies", id_, {"description": f"round {round_}"})
    house.until(lambda: not Company.objects.exclude(description="round 2").exists())
    house.rest()

    keys = list(InboxEvent.objects.values_list("key", flat=True))
    assert len(keys) == len(set(keys)) == 90
    assert Company.objects.count() == 30


def test_the_echo_of_our_own_push_writes_nothing(house: House) -> None:
    house.sandbox.admin.seed("companies", [{"name": "Acme", "domain": "acme.example", "website": "acme.example"}])
    sync = house.sync("two_way")
    run_to_end(sync)
    run_to_end(sync)
    house.rest()
    company = Company.objects.get()
    Company.objects.filter(pk=company.pk).update(description="Ours", modified=timezone.now())
    run_to_end(sync, kind=Run.Kind.FULL)
    house.sandbox.admin.reset_counters()
    company.refresh_from_db()
    before = company.modified

    house.rest()

    assert InboxEvent.objects.filter(kind="changed").exists()
    assert house.sandbox.admin.counters()["write_calls"] == 0
    company.refresh_from_db()
    assert (company.description, company.modified) == ("Ours", before)


def test_a_forged_delivery_is_refused_counted_and_not_kept(house: House) -> None:
    house.sync("pull")
    [acme] = house.sandbox.admin.seed("companies", [{"name": "Acme", "domain": "acme.example"}])
    house.sandbox.admin.subscribe(house.url, *EVENTS, secret="not the secret")
    house.sandbox.admin.patch("companies", acme, {"description": "Anvils"})

    end = time.monotonic() + 10
    while not Refusal.objects.exists() and time.monotonic() < end:
        time.sleep(0.05)

    assert set(Refusal.objects.values_list("cause", flat=True)) == {"forged"}
    assert Refusal.objects.aggregate(n=Sum("count"))["n"] >= 1
    assert not Delivery.objects.exists()
    assert not Company.objects.exists()
