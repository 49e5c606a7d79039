"""Companies, people and deals as one chain: each record once, beside whom it belongs to, with as few calls as it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from syncline.catalog import service as catalog
from syncline.ledger.models import Link
from syncline.runs.execute import work
from syncline.runs.models import Run
from syncline.runs.tick import tick
from syncline.syncs.models import Sync
from syncline_companies.models import Company, Deal, Employee
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
COMPANIES, EACH = 250, 3
FAMILY = (("companies.company", "companies"), ("companies.person", "contacts"), ("companies.deal", "deals"))


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", "1")
    with RunningSandbox(limits=False) as running:
        yield running


@pytest.fixture
def chain(sandbox: RunningSandbox, transactional_db: None) -> list[Sync]:
    owner = User.objects.create_superuser("owner")
    connection = scenario.connect_by_token(owner, sandbox)
    catalog.refresh(connection)
    syncs: list[Sync] = []
    for dataset, object_type in FAMILY:
        before = syncs[-1] if syncs else None
        syncs.append(scenario.make_sync(connection, owner, dataset, object_type, follows=before))
    return syncs


def register(start: int, number: int) -> None:
    """So many companies, each with some people and some deals."""
    made = Company.objects.bulk_create(
        Company(name=f"Company {n}", website=f"company{n}.example") for n in range(start, start + number)
    )
    Employee.objects.bulk_create(
        Employee(name=f"Person {k}", email=f"p{k}@company{start + n}.example", company=company)
        for n, company in enumerate(made)
        for k in range(EACH)
    )
    Deal.objects.bulk_create(
        Deal(company=company, amount_raised=1000 * k, date_of_deal=f"2020-01-{k + 1:02}") for company in made for k in range(EACH)
    )


def fired(chain: list[Sync]) -> list[Run]:
    """The schedule fires the head; gives the runs of the whole chain."""
    newest = max(Run.objects.values_list("pk", flat=True), default=0)
    Sync.objects.filter(pk=chain[0].pk).update(cron="0 3 * * *", next_due_at=timezone.now())
    tick()
    end = time.monotonic() + 60
    while Run.objects.filter(state__in=Run.ACTIVE).exists() or Sync.objects.filter(follows_run_id__isnull=False).exists():
        assert time.monotonic() < end, "The chain does not come to its end."
        work(10)
        tick()
    return list(Run.objects.filter(pk__gt=newest).order_by("pk"))


def calls(sandbox: RunningSandbox) -> dict[str, int]:
    counters = sandbox.admin.counters()
    kinds = ("list", "search", "batch_read", "batch_create", "batch_update", "batch_upsert", "associations_create")
    return {kind: counters[kind] for kind in kinds if counters.get(kind)}


def test_three_objects_arrive_together_in_as_few_calls_as_it_takes(sandbox: RunningSandbox, chain: list[Sync]) -> None:
    register(0, COMPANIES)
    sandbox.admin.reset_counters()
    runs = fired(chain)
    assert [run.sync_id for run in runs] == [sync.pk for sync in chain]
    assert [(run.created, run.state) for run in runs] == [
        (COMPANIES, "succeeded"), (COMPANIES * EACH, "succeeded"), (COMPANIES * EACH, "succeeded"),
    ]  # fmt: skip
    # 250 companies and twice 750 others in hundreds; one batch of associations for people, one for deals
    looking = {"list": 2 + 2}  # an empty page is asked for twice before it is believed; deals are found by our key alone
    assert calls(sandbox) == {**looking, "batch_upsert": 3 + 8 + 8, "associations_create": 2}
    company = dict(Link.objects.filter(object_type="companies").values_list("local_key", "remote_id"))
    of_deal = {str(pk): str(key) for pk, key in Deal.objects.values_list("pk", "company_id")}
    for link in Link.objects.filter(object_type="deals"):
        assert link.associations == {"companies": [company[of_deal[link.local_key]]]}
    there = {one["id"]: one["associations"]["companies"] for one in sandbox.admin.live("deals")}
    assert len(there) == COMPANIES * EACH
    assert all(len(ids) == 1 for ids in there.values())

    sandbox.admin.reset_counters()
    assert [run.unchanged for run in fired(chain)] == [COMPANIES, COMPANIES * EACH, COMPANIES * EACH]
    assert calls(sandbox) == {}


def test_people_and_deals_that_came_too_early_are_linked_once_their_company_is(
    sandbox: RunningSandbox, chain: list[Sync]
) -> None:
    register(0, 2)
    people, deals = chain[1:]
    assert scenario.run_to_end(people).waiting == 2 * EACH
    assert scenario.run_to_end(deals).waiting == 2 * EACH
    Sync.objects.update(follows_run_id=None)
    runs = fired(chain)
    assert [run.waiting for run in runs] == [0, 0, 0]
    assert {run.state for run in runs} == {"succeeded"}
    assert not Link.objects.exclude(state="delivered").exists()
    for object_type in ("contacts", "deals"):
        assert all(len(one["associations"]["companies"]) == 1 for one in sandbox.admin.live(object_type))
