"""What people do with the register and HubSpot besides the demo: deals, a segment, a filter, the reference register."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.ledger.models import Link
from syncline.runs.models import Run
from syncline.syncs import publish
from syncline.syncs.models import Sync
from syncline_companies.models import Company, Country, Deal, Employee
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
FIXTURE = Path(__file__).parents[2] / "shared" / "data" / "companies-fixtures.json"
COMPANIES = ("companies.company", "companies")
DEALS = ("companies.deal", "deals")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", "1")


@pytest.fixture
def reference(transactional_db: None) -> None:
    """The register's own fixture; before the owner is made, because it brings users with keys."""
    if not FIXTURE.exists():
        pytest.skip(f"reference: put the register's fixture at {FIXTURE}")
    call_command("loaddata", str(FIXTURE), verbosity=0)


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner")


@pytest.fixture
def connection(sandbox: RunningSandbox, owner: User) -> Connection:
    connection = scenario.connect_by_token(owner, sandbox)
    catalog.refresh(connection)
    return connection


def company(name: str, **more: Any) -> Company:
    return Company.objects.create(name=name, website=f"www.{name.lower()}.example", **more)


def calls(sandbox: RunningSandbox, sync: Sync) -> tuple[Run, int]:
    """One run, and how many calls about records it made."""
    sandbox.admin.reset_counters()
    run = scenario.run_to_end(sync)
    counters = sandbox.admin.counters()
    return run, counters["write_calls"] + counters["read_calls"]


def names(sandbox: RunningSandbox, object_type: str, name: str) -> list[str]:
    return sorted(one["properties"][name] for one in sandbox.admin.live(object_type))


def test_deals_arrive_beside_their_companies_once(sandbox: RunningSandbox, connection: Connection, owner: User) -> None:
    for number, name in enumerate(("Ash", "Birch")):
        Deal.objects.create(company=company(name), amount_raised=1000 + number, date_of_deal=f"2020-01-0{number + 1}")
    scenario.run_to_end(scenario.make_sync(connection, owner, *COMPANIES))
    sync = scenario.make_sync(connection, owner, *DEALS)

    first, _ = calls(sandbox, sync)
    second, again = calls(sandbox, sync)

    assert (first.created, first.state) == (2, Run.State.SUCCEEDED)
    assert (second.unchanged, again) == (2, 0)
    assert names(sandbox, "deals", "dealname") == ["Ash 2020-01-01", "Birch 2020-01-02"]
    companies = dict(Link.objects.filter(object_type="companies").values_list("remote_id", "local_key"))
    for one in sandbox.admin.live("deals"):
        deal = Deal.objects.get(pk=Link.objects.get(object_type="deals", remote_id=one["id"]).local_key)
        assert float(one["properties"]["amount"]) == deal.amount_raised
        assert one["properties"]["dealstage"] == "closedwon"
        assert [companies[remote] for remote in associated(one)] == [str(deal.company_id)]


def associated(deal: dict[str, Any]) -> list[str]:
    found = deal["associations"]["companies"]
    return [str(one["id"] if isinstance(one, dict) else one) for one in found]


def test_of_a_segment_only_what_the_connections_owner_monitors_is_sent(
    sandbox: RunningSandbox, connection: Connection, owner: User
) -> None:
    somebody = User.objects.create_user("somebody")
    company("Mine").monitors.add(owner)
    company("Theirs").monitors.add(somebody)
    company("Nobodys")
    sync = scenario.make_sync(connection, owner, *COMPANIES, segment="monitored")

    run, _ = calls(sandbox, sync)
    assert (run.read, run.created) == (1, 1)
    assert names(sandbox, "companies", "name") == ["Mine"]

    Company.objects.get(name="Theirs").monitors.add(owner)
    run, _ = calls(sandbox, sync)
    assert (run.created, run.unchanged) == (1, 1)
    assert names(sandbox, "companies", "name") == ["Mine", "Theirs"]


def test_a_filter_leaves_out_what_it_is_not_true_for(sandbox: RunningSandbox, connection: Connection, owner: User) -> None:
    home = Country.objects.create(iso_code="GB", name="Home")
    for name in ("Inside", "Within"):
        company(name, country=home)
    away = company("Outside")
    sync = scenario.make_sync(connection, owner, *COMPANIES, filter='country_name == "Home"')

    run, _ = calls(sandbox, sync)
    assert (run.created, run.excluded) == (2, 1)
    assert names(sandbox, "companies", "name") == ["Inside", "Within"]

    _, again = calls(sandbox, sync)
    assert again == 0
    Company.objects.filter(pk=away.pk).update(country=home)
    run, _ = calls(sandbox, sync)
    assert (run.created, run.unchanged, run.excluded) == (1, 2, 0)


def test_a_changed_filter_counts_once_it_is_published(sandbox: RunningSandbox, connection: Connection, owner: User) -> None:
    company("Ash")
    sync = scenario.make_sync(connection, owner, *COMPANIES, filter='name == "Birch"')
    assert calls(sandbox, sync)[0].excluded == 1
    Sync.objects.filter(pk=sync.pk).update(filter="")
    sync.refresh_from_db()
    assert calls(sandbox, sync)[0].created == 0
    publish.publish(sync, owner)
    assert calls(sandbox, sync)[0].created == 1


def test_the_reference_register_arrives_and_the_second_push_calls_nobody(
    reference: None, sandbox: RunningSandbox, connection: Connection, owner: User
) -> None:
    pairs = (*scenario.PAIRS, DEALS)
    syncs = {object_type: scenario.make_sync(connection, owner, dataset, object_type) for dataset, object_type in pairs}

    first = {object_type: calls(sandbox, sync)[0] for object_type, sync in syncs.items()}
    assert first["companies"].read == Company.objects.count() > 0
    assert first["deals"].read == Deal.objects.count() > 0
    people = Employee.objects.exclude(email_key=None).values("email_key").distinct().count()
    assert first["contacts"].read == people + Employee.objects.filter(email_key=None).count()
    for object_type, run in first.items():
        assert len(sandbox.admin.live(object_type)) == run.created
        undelivered = (run.ambiguous, run.rejected, run.waiting)
        assert run.created + sum(undelivered) + run.adopted == run.read, (object_type, undelivered)

    for object_type, sync in syncs.items():
        run, made = calls(sandbox, sync)
        assert (run.created, run.updated, made) == (0, 0, 0), object_type
