"""The register mirrored to HubSpot's sandbox as it changes: what leaves is archived or deleted there, and comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.ledger.models import Link
from syncline.outbox import watch
from syncline.runs import changes
from syncline.runs.execute import work
from syncline.runs.models import Run
from syncline.runs.start import start_run
from syncline.syncs.models import Sync
from syncline_companies.models import Company, Deal, Employee
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", "1")
    running.admin.reset()
    return running


@pytest.fixture
def connection(sandbox: RunningSandbox) -> Iterator[Connection]:
    connection = scenario.connect_by_token(User.objects.create_superuser("owner"), sandbox)
    catalog.refresh(connection)
    yield connection
    Sync.objects.update(enabled=False)
    assert watch.reconcile()


def mirror(connection: Connection, dataset: str, object_type: str, **options: Any) -> Sync:
    """Suggested mapping, own key and all, watched, and everything delivered."""
    sync = scenario.make_sync(
        connection, connection.owner, dataset, object_type, mode="mirror", changes_cron="*/5 * * * *", **options
    )
    assert watch.reconcile()
    changes.push(sync)
    finish(sync)
    return sync


def finish(sync: Sync) -> Run:
    while work(20.0):
        pass
    run = Run.objects.filter(sync=sync).latest("pk")
    assert run.state in (Run.State.SUCCEEDED, Run.State.PROBLEMS), run.reason
    assert run.state == Run.State.SUCCEEDED or run.reason.endswith("waiting for another record."), run.reason
    return run


def push(sync: Sync) -> Run:
    assert changes.push(sync)
    return finish(sync)


def names(sandbox: RunningSandbox) -> set[str]:
    return {record["properties"]["name"] for record in sandbox.admin.live("companies")}


@pytest.fixture
def register(db: None) -> dict[str, Company]:
    made = {name: Company.objects.create(name=name, website=f"www.{name.lower()}.example") for name in ("Acme", "Bolt", "Cask")}
    for company in made.values():
        Deal.objects.create(company=company, amount_raised=100)
    return made


def test_a_company_that_left_is_archived_and_one_that_comes_back_is_a_new_record(
    sandbox: RunningSandbox, connection: Connection, register: dict[str, Company]
) -> None:
    for company in register.values():
        company.monitors.add(connection.owner)
    sync = mirror(connection, "companies.company", "companies", segment="monitored", delete_policy="archive")
    assert names(sandbox) == {"Acme", "Bolt", "Cask"}
    before = Link.objects.get(local_key=str(register["Bolt"].pk)).remote_id

    register["Bolt"].monitors.clear()
    run = push(sync)
    assert (run.kind, run.removed) == (Run.Kind.CHANGES, 1)
    assert names(sandbox) == {"Acme", "Cask"}

    register["Bolt"].monitors.add(connection.owner)
    run = push(sync)
    assert (run.created, run.gone) == (1, 0)
    assert names(sandbox) == {"Acme", "Bolt", "Cask"}
    assert Link.objects.get(local_key=str(register["Bolt"].pk)).remote_id != before


def test_a_deal_that_moves_is_seen_at_both_companies_without_a_full_pass(
    sandbox: RunningSandbox, connection: Connection, register: dict[str, Company]
) -> None:
    sync = mirror(connection, "companies.company", "companies", delete_policy="archive")
    Deal.objects.filter(company=register["Acme"]).update(company=register["Bolt"])
    run = push(sync)
    assert (run.kind, run.read, run.updated) == (Run.Kind.CHANGES, 2, 2)
    raised = {r["properties"]["name"]: r["properties"].get("syncline_total_raised") for r in sandbox.admin.live("companies")}
    assert {name: float(value or 0) for name, value in raised.items()} == {"Acme": 0, "Bolt": 200, "Cask": 100}


def test_the_last_job_of_a_person_takes_the_contact_along_and_another_job_keeps_it(
    sandbox: RunningSandbox, connection: Connection, register: dict[str, Company]
) -> None:
    jobs = [Employee.objects.create(company=register[n], name="Ann Lee", email="ann@example.org") for n in ("Acme", "Bolt")]
    Employee.objects.create(company=register["Cask"], name="Ben Day", email="ben@example.org")
    sync = mirror(connection, "companies.person", "contacts", delete_policy="delete")
    assert emails(sandbox) == {"ann@example.org", "ben@example.org"}

    before = Link.objects.get(local_key=str(jobs[0].pk)).remote_id
    jobs[0].delete()
    run = push(sync)
    assert emails(sandbox) == {"ann@example.org", "ben@example.org"}, "her second job stands for her now"
    assert (run.removed, Link.objects.get(local_key=str(jobs[1].pk)).remote_id) == (0, before)

    jobs[1].delete()
    assert push(sync).removed == 1
    assert emails(sandbox) == {"ben@example.org"}
    assert len(sandbox.admin.dump("contacts")) == 1, "not even an archived record is left"


def emails(sandbox: RunningSandbox) -> set[Any]:
    return {record["properties"].get("email") for record in sandbox.admin.live("contacts")}


KILLED = [
    *((point, "archive") for point in ("mark.after", "call.after", "record.after", "removal.after")),
    *(("call.after", policy) for policy in ("clear", "delete")),
]


@pytest.mark.faults
@pytest.mark.parametrize(("point", "policy"), KILLED)
def test_a_worker_that_dies_around_a_removal_loses_and_doubles_nothing(
    sandbox: RunningSandbox, connection: Connection, register: dict[str, Company], point: str, policy: str
) -> None:
    for name, company in register.items():
        Employee.objects.create(company=company, name=name, email=f"{name.lower()}@example.org")
    sync = mirror(connection, "companies.person", "contacts", delete_policy=policy)
    leaving = Employee.objects.get(name="Bolt")
    key = str(leaving.pk)
    leaving.delete()
    assert changes.push(sync)

    with override_settings(SYNCLINE_LEASE_SECONDS=1.5):
        die_at(point)
        run = Run.objects.filter(sync=sync).latest("pk")
        while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
            work(1.0)
            time.sleep(0.1)

    run.refresh_from_db()
    link = Link.objects.get(local_key=key, object_type="contacts")
    assert (run.removed, link.state) == (1, "excluded"), run.reason
    assert (link.remote_id is None) == (policy != "clear")
    assert emails(sandbox) - {"", None} == {"acme@example.org", "cask@example.org"}
    assert start_and_finish(sync).removed == 0


def die_at(point: str) -> None:
    """Works in a process that ends there, as by kill -9."""
    connections.close_all()
    pid = os.fork()
    if not pid:
        os.environ["SYNCLINE_CRASH_AT"] = point
        try:
            work(20.0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 137


def start_and_finish(sync: Sync) -> Run:
    start_run(sync)
    return finish(sync)
