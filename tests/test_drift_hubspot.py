"""HubSpot's definitions change while a push is under way: only the fields concerned are suspended, the rest arrives."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange
from syncline.ledger.models import ErrorGroup, Link
from syncline.runs.models import Run
from syncline.syncs import publish
from syncline.syncs.models import FieldRule, Sync
from syncline_companies.models import Company, Country
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)

RECORDS = 2400
INDUSTRY = 'country_name == "Far" ? "BANKING" : "COMPUTER_SOFTWARE"'


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", "1")
    with RunningSandbox(limits=False, latency_ms=20) as running:
        yield running


@pytest.fixture
def sync(sandbox: RunningSandbox, settings: Any) -> Sync:
    settings.SYNCLINE_DRIFT_SECONDS = 0.0
    owner = User.objects.create_superuser("owner")
    home, far = (Country.objects.create(iso_code=code, name=name) for code, name in (("GB", "Home"), ("FR", "Far")))
    Company.objects.bulk_create(
        Company(name=f"Company {n:05}", website=f"www.c{n}.example", description=f"No. {n}", country=far if n % 3 == 0 else home)
        for n in range(RECORDS)
    )
    connection = scenario.connect_by_token(owner, sandbox)
    catalog.refresh(connection)
    made = scenario.make_sync(connection, owner, "companies.company", "companies")
    FieldRule.objects.create(sync=made, position=99, expression=INDUSTRY, target="industry")
    publish.publish(made, owner)
    made.refresh_from_db()
    return made


def change_the_account(sandbox: RunningSandbox) -> None:
    """One property is deleted, one renamed (HubSpot has no other way than another name), one choice taken away."""
    sandbox.admin.delete_property("companies", "syncline_employee_count")
    old = sandbox.request("GET", "/crm/v3/properties/companies/syncline_deal_count").json()
    given = {name: old[name] for name in ("label", "type", "fieldType", "groupName")}
    sandbox.admin.delete_property("companies", "syncline_deal_count")
    made = sandbox.request("POST", "/crm/v3/properties/companies", {**given, "name": "number_of_deals"})
    assert made.status_code == 201, made.text
    sandbox.admin.patch_property("companies", "industry", {"remove_options": ["BANKING"]})


def in_mid_run(sandbox: RunningSandbox) -> threading.Thread:
    def wait_and_change() -> None:
        while sandbox.admin.counters()["write_calls"] < 5:
            time.sleep(0.005)
        change_the_account(sandbox)

    thread = threading.Thread(target=wait_and_change)
    thread.start()
    return thread


def test_of_a_push_whose_properties_change_only_the_changed_fields_are_left_out(sandbox: RunningSandbox, sync: Sync) -> None:
    sandbox.admin.reset_counters()
    change = in_mid_run(sandbox)
    run = scenario.run_to_end(sync)
    change.join(60)

    assert run.state == Run.State.PROBLEMS
    assert run.reason == "3 fields suspended: industry, syncline_deal_count, syncline_employee_count."
    assert (run.read, run.created, run.rejected, run.ambiguous) == (RECORDS, RECORDS, 0, 0)
    assert Counter(Link.objects.values_list("state", flat=True)) == {"delivered": RECORDS}
    renamed = ErrorGroup.objects.get(run_id=run.pk, property="syncline_deal_count")
    assert "“number_of_deals” has the same label: perhaps it was renamed" in renamed.message
    changes = CatalogChange.objects.filter(connection=sync.connection).exclude(aspect="added").exclude(property="")
    assert dict(changes.values_list("property", "aspect")) == {
        "syncline_deal_count": "removed",
        "syncline_employee_count": "removed",
        "industry": "choices",
    }
    assert_the_rest_arrived(sandbox)

    sandbox.admin.reset_counters()
    again = scenario.run_to_end(sync)
    assert (again.unchanged, again.created, again.updated) == (RECORDS, 0, 0)
    assert again.reason == run.reason
    counters = sandbox.admin.counters()
    assert (counters["write_calls"], counters["read_calls"]) == (0, 0)


def assert_the_rest_arrived(sandbox: RunningSandbox) -> None:
    there = [one["properties"] for one in sandbox.admin.live("companies")]
    assert sorted(one["name"] for one in there) == [f"Company {n:05}" for n in range(RECORDS)]
    for one in there:
        number = int(one["name"].rpartition(" ")[2])
        assert (one["domain"], one["description"]) == (f"c{number}.example", f"No. {number}")
        assert one["country"] == ("Far" if number % 3 == 0 else "Home")
    industries = Counter(one.get("industry") for one in there)
    assert industries["COMPUTER_SOFTWARE"] == RECORDS - RECORDS // 3
    assert industries[None] + industries["BANKING"] == RECORDS // 3
    assert industries[None] > 0
