"""New records are matched against an index that follows the account: by a few calls, and by a listing only when it must."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import HeaderAuth, Http, PullRequest, Session
from syncline.contract.http import FreeBudget
from syncline.ledger.models import IdentityIndex, IndexState, Link
from syncline.runs.execute import work
from syncline.runs.models import Run
from syncline.runs.start import push_keys
from syncline.syncs.models import Sync
from syncline_companies.models import Company
from syncline_host.demo import scenario
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
LAG = 30.0
OLD = {"createdate": "2020-01-01T00:00:00Z", "hs_lastmodifieddate": "2020-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=LAG) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", "1")


@pytest.fixture
def connection(sandbox: RunningSandbox, transactional_db: None) -> Connection:
    connection = scenario.connect_by_token(User.objects.create_superuser("owner"), sandbox)
    catalog.refresh(connection)
    return connection


@pytest.fixture
def sync(sandbox: RunningSandbox, connection: Connection) -> Sync:
    """450 companies are there for years, and the account has been listed once."""
    sandbox.admin.seed("companies", [{"name": f"There {n}", "domain": f"there{n}.example", **OLD} for n in range(450)])
    sync = scenario.make_sync(connection, connection.owner, "companies.company", "companies")
    catalog.refresh(connection)
    here("First")
    run, calls = counted(sandbox, sync)
    assert (run.created, calls) == (1, {"list": 5, "batch_upsert": 1})
    return sync


def here(name: str, site: str = "") -> Company:
    return Company.objects.create(name=name, website=site or f"{name.lower()}.example")


def counted(sandbox: RunningSandbox, sync: Sync) -> tuple[Run, dict[str, int]]:
    """One run, and the calls about records it made, by kind."""
    sandbox.admin.reset_counters()
    run = scenario.run_to_end(sync)
    return run, calls(sandbox)


def calls(sandbox: RunningSandbox) -> dict[str, int]:
    kinds = ("list", "search", "batch_read", "single_get", "batch_create", "batch_update", "batch_upsert")
    return {kind: number for kind, number in sandbox.admin.counters().items() if kind in kinds and number}


def remote(company: Company) -> str | None:
    return Link.objects.get(object_type="companies", local_key=str(company.pk)).remote_id


def one(sandbox: RunningSandbox, domain: str) -> str:
    (found,) = (r["id"] for r in sandbox.admin.live("companies") if r["properties"].get("domain") == domain)
    return str(found)


def made_there(sandbox: RunningSandbox, **properties: str) -> str:
    """As another app makes one: search will not know it for a while."""
    return str(sandbox.request("POST", "/crm/v3/objects/companies", {"properties": properties}).json()["id"])


def test_a_new_record_costs_three_calls_instead_of_a_listing(sandbox: RunningSandbox, sync: Sync) -> None:
    here("Second")
    run, made = counted(sandbox, sync)
    assert (run.created, made) == (1, {"search": 2, "list": 1, "batch_upsert": 1})
    _, nothing = counted(sandbox, sync)
    assert nothing == {}


def test_a_record_made_there_a_moment_ago_is_found_although_search_does_not_know_it(sandbox: RunningSandbox, sync: Sync) -> None:
    there = made_there(sandbox, name="Somebody else's", domain="fresh.example")
    fresh = here("Fresh")
    run, made = counted(sandbox, sync)
    assert (run.adopted, remote(fresh)) == (1, there)
    assert made["list"] == 1
    assert "batch_upsert" not in made


def test_a_value_changed_there_is_found_and_the_old_one_identifies_nobody(sandbox: RunningSandbox, sync: Sync) -> None:
    moved = one(sandbox, "there7.example")
    sandbox.admin.patch("companies", moved, {"domain": "elsewhere.example", "website": "elsewhere.example"})
    sandbox.admin.advance(LAG + 1)
    new, old = here("New", "elsewhere.example"), here("Old", "there7.example")
    run, made = counted(sandbox, sync)
    assert (run.adopted, run.created) == (1, 1)
    assert remote(new) == moved
    assert remote(old) not in (None, moved)
    assert made["list"] == 1


def test_of_two_hits_one_was_deleted_and_of_two_others_both_were_merged(sandbox: RunningSandbox, sync: Sync) -> None:
    one_, two, three, four = sandbox.admin.seed(
        "companies", [{"name": f"Twin {n}", "domain": d, **OLD} for n, d in enumerate(["a.example"] * 2 + ["b.example"] * 2)]
    )
    IndexState.objects.all().delete()  # so that all four are listed
    twins = here("Twins", "a.example"), here("Others", "b.example")
    run, _ = counted(sandbox, sync)
    assert run.ambiguous == 2
    sandbox.admin.delete("companies", two)
    survivor = sandbox.admin.merge("companies", four, three)
    Company.objects.filter(pk__in=[c.pk for c in twins]).update(description="Look again")
    run, made = counted(sandbox, sync)
    assert (run.adopted, run.ambiguous, run.state) == (2, 0, "succeeded")
    assert [remote(c) for c in twins] == [one_, survivor]
    assert made["list"] == 1
    assert not IdentityIndex.objects.filter(remote_id__in=[two, three, four]).exists()


def test_the_only_hit_was_deleted_so_the_record_is_created_in_the_same_run(sandbox: RunningSandbox, sync: Sync) -> None:
    gone = one(sandbox, "there9.example")
    sandbox.admin.delete("companies", gone)
    company = here("Anew", "there9.example")
    run, made = counted(sandbox, sync)
    assert (run.created, run.state) == (1, "succeeded")
    assert remote(company) != gone
    assert not IdentityIndex.objects.filter(remote_id=gone).exists()
    assert made["list"] <= 2


def test_what_our_own_update_changes_is_known_without_asking(sandbox: RunningSandbox, sync: Sync) -> None:
    first = Company.objects.get()
    first.website = "renamed.example"
    first.save()
    counted(sandbox, sync)
    assert IdentityIndex.objects.filter(value="renamed.example", remote_id=remote(first)).exists()


def test_somebody_who_waits_never_waits_for_a_listing(sandbox: RunningSandbox, sync: Sync) -> None:
    IndexState.objects.update(listed_at=datetime.now(UTC) - timedelta(days=30), seen_until=datetime.now(UTC) - timedelta(days=30))
    company = here("Urgent", "there3.example")
    sandbox.admin.reset_counters()
    run = push_keys(sync, [str(company.pk)])
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        work(10, run.pk)
    assert remote(company) == one(sandbox, "there3.example")
    made = calls(sandbox)
    assert made["list"] == 1
    assert made["search"] == 2
    here("Later")
    _, made = counted(sandbox, sync)
    assert made["list"] >= 5, "the index is a month old: a scheduled run lists the account once more"


def test_twelve_thousand_records_of_one_moment_are_all_found(sandbox: RunningSandbox, connection: Connection) -> None:
    """More than a search gives, and no two can be told apart by their date."""
    ids = sandbox.admin.seed(
        "companies", [{"name": f"T{n}", "hs_lastmodifieddate": "2026-01-31T12:00:00Z"} for n in range(12_000)]
    )
    sandbox.admin.seed("companies", [{"name": "Before", **OLD}])
    session = Session(
        settings={"api_version": "2026-09", "api_url": sandbox.url, "app_url": sandbox.url, "own_key": True},
        http=Http(hosts=("127.0.0.1",), auth=HeaderAuth({"Authorization": f"Bearer {sandbox.token}"}), budget=FreeBudget()),
        installation="test",
        log=logging.getLogger("test.hubspot"),
    )
    request = PullRequest(("name",), since=datetime(2026, 1, 31, 12, tzinfo=UTC))
    sandbox.admin.reset_counters()
    found, position = begun(session, connection, request)
    rest = HubSpot().pull(session=session, object_type=companies(connection), request=replaced(request, position))
    found += [record.id for page in rest for record in page.records]
    assert set(found) >= set(ids)
    searched = found[: len(ids)]
    assert searched == sorted(ids, key=int)
    assert calls(sandbox)["search"] == 60 + 1, "pages of 200, and the youngest that is known for certain"


def companies(connection: Connection) -> Any:
    return catalog.object_type(connection, "companies")


def replaced(request: PullRequest, position: str | None) -> PullRequest:
    return PullRequest(request.properties, position=position, since=request.since)


def begun(session: Session, connection: Connection, request: PullRequest) -> tuple[list[str], str | None]:
    """The first thirty pages, by a process that ends there."""
    found: list[str] = []
    for number, page in enumerate(HubSpot().pull(session=session, object_type=companies(connection), request=request), 1):
        found += [record.id for record in page.records]
        if number == 30:
            return found, page.position
    raise AssertionError("The pull ended early.")
