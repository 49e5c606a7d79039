"""Plans: what a push would do, looked up and stored, never sent; and exactly that applied."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from syncline.ledger.models import Entry, Link
from syncline.runs import execute
from syncline.runs.models import PlanRow, Run
from syncline.runs.push import results, sender

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def rows(plan: Run) -> dict[str, PlanRow]:
    return {row.local_key: row for row in PlanRow.objects.filter(run=plan)}


def test_a_plan_says_what_a_push_would_do_and_writes_nothing(lab: Lab) -> None:
    here = lab.people(6)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="Another", email=here[0].email, city="Oslo")
    before = {held.id: dict(held.properties) for held in lab.vendor.live()}

    plan = lab.run(sync, Run.Kind.PLAN)

    assert (plan.state, plan.reason) == ("succeeded", "Planned: 5 to create, 1 to adopt.")
    assert counts(plan) == {"created": 5, "adopted": 1}
    found = rows(plan)
    assert found[str(here[0].pk)].remote_id == known
    assert found[str(here[0].pk)].changes["name"] == ["Another", "Name 0"]
    assert found[str(here[1].pk)].changes == {
        "name": [None, "Name 1"], "email": [None, "p1@example.org"], "city": [None, "City 1"]
    }  # fmt: skip
    assert lab.vendor.pushes == []
    assert {held.id: dict(held.properties) for held in lab.vendor.live()} == before
    assert not Link.objects.exists()
    assert not Entry.objects.exists()
