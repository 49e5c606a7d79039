"""The books of the chaos suite notice what they are for: a double, a loss, a run that does not add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from syncline.connections.models import Connection
from syncline.ledger.models import Link
from syncline.runs.models import Run
from syncline.syncs.models import MappingVersion, Sync
from syncline_companies.models import Company
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import Admin

from tests.chaos import restarts
from tests.chaos.account import Tally, check_run, compare

COMPANIES = 3


class Account:
    """What the sandbox's admin API would say."""

    def __init__(self, companies: list[Company]) -> None:
        self.records = {f"r{one.pk}": {KEY.name: str(one.pk), "domain": f"d{one.pk}.example"} for one in companies}

    def live(self, _object_type: str) -> list[dict[str, Any]]:
        return [{"id": key, "properties": properties} for key, properties in self.records.items()]


@pytest.fixture
def sync(db: None) -> Sync:
    owner = User.objects.create_user("owner")
    there = Connection.objects.create(connector="hubspot", name="c", owner=owner)
    made = Sync.objects.create(name="s", connection=there, dataset="companies.company", object_type="companies")
    for one in Company.objects.bulk_create(Company(name=f"Company {n}") for n in range(COMPANIES)):
        Link.objects.create(
            connection=there,
            object_type="companies",
            dataset=made.dataset,
            local_key=str(one.pk),
            remote_id=f"r{one.pk}",
            state="delivered",
        )
    return made


@pytest.fixture
def account(sync: Sync) -> Account:
    return Account(list(Company.objects.all()))


def books(sync: Sync, account: Account) -> tuple[int, int]:
    tally = Tally()
    compare(sync, cast(Admin, account), tally, "here", calm=True)
    assert len(tally.told) == tally.duplicates + tally.losses
    return tally.duplicates, tally.losses


def test_good_books_are_quiet(sync: Sync, account: Account) -> None:
    assert books(sync, account) == (0, 0)


def test_a_record_that_is_there_twice(sync: Sync, account: Account) -> None:
    account.records["another"] = {"domain": next(iter(account.records.values()))["domain"]}

    assert books(sync, account) == (1, 0)


def test_a_record_of_ours_that_no_link_knows(sync: Sync, account: Account) -> None:
    account.records["stray"] = {KEY.name: "x:companies.company:99"}

    assert books(sync, account) == (1, 0)


def test_a_record_that_was_said_to_be_delivered_and_is_not_there(sync: Sync, account: Account) -> None:
    account.records.popitem()

    assert books(sync, account) == (0, 1)


@pytest.mark.parametrize("state", ["uncertain", "pending", "rejected"])
def test_a_record_in_doubt_or_refused_without_a_reason(sync: Sync, account: Account, state: str) -> None:
    Link.objects.filter(pk=Link.objects.order_by("pk")[0].pk).update(state=state)

    assert books(sync, account) == (0, 1)


def test_a_record_that_is_not_in_the_ledger(sync: Sync, account: Account) -> None:
    Company.objects.create(name="One more")

    assert books(sync, account) == (0, 1)


@pytest.mark.parametrize(
    ("state", "read", "created", "wrong"),
    [("succeeded", 3, 3, 0), ("succeeded", 3, 2, 1), ("problems", 4, 4, 1), ("failed", 3, 3, 1)],
)
def test_a_run_has_to_end_well_and_to_add_up(sync: Sync, state: str, read: int, created: int, wrong: int) -> None:
    version = MappingVersion.objects.create(sync=sync, number=1, content={}, digest="0")
    run = Run.objects.create(sync=sync, version=version, state=state, read=read, created=created)
    tally = Tally()
    check_run(run, sync, tally, "here")

    assert tally.miscounts == wrong


@pytest.mark.unit
def test_only_restarts_after_a_stall_are_timed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "Worker a gave no sign of life for 6 s. Its processes are ended and started anew (restart 1).\n"
        "Worker a ended by itself (exit code 1). Its processes are ended and started anew (restart 2).\n"
        "Worker a works again, 14.5 s after its last sign of life.\n"
        "Worker a ended by itself (exit code 1). Its processes are ended and started anew (restart 3).\n"
        "Worker a works again, 2.0 s after its last sign of life.\n"
    )

    assert restarts.slowest([log]) == [14.5]
