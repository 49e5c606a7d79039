"""Plans: what a push would do, looked up and stored, never sent; and exactly that applied."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from syncline.ledger.models import Entry, Link
from syncline.runs import execute
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan.start import start_apply
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


def finish(lab: Lab, run: Run, seconds: float = 30.0) -> Run:
    end = time.monotonic() + seconds
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(seconds, run.pk)
        assert time.monotonic() < end, "The run does not come to its end."
        time.sleep(0.02)
    run.refresh_from_db()
    return run


def test_an_application_writes_exactly_what_was_planned(lab: Lab) -> None:
    here = lab.people(4)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="Another", email=here[0].email, city="Oslo", tags=("red",))
    plan = lab.run(sync, Run.Kind.PLAN)

    done = finish(lab, start_apply(plan, user=lab.owner))

    assert (done.state, done.reason, counts(done), done.read) == ("succeeded", "", {"created": 3, "adopted": 1}, 4)
    assert (done.plan, done.approved_by) == (plan, lab.owner)
    assert lab.vendor.tables["people"][known].properties["name"] == "Name 0"
    assert lab.vendor.sent() == dict.fromkeys((str(u.pk) for u in here), 1)
    assert {row.state for row in rows(plan).values()} == {"applied"}
    again = lab.run(sync)
    assert (again.state, counts(again), len(lab.vendor.pushes)) == ("succeeded", {"unchanged": 4}, 2)


def test_what_changed_there_since_is_refused_and_named(lab: Lab) -> None:
    here = lab.people(6)
    sync = lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Bergen")
    plan = lab.run(sync, Run.Kind.PLAN)
    assert counts(plan) == {"updated": 6}
    held = lab.vendor.by_name()
    held["Name 0"].properties["city"] = "Oslo"
    held["Name 1"].properties["name"] = "Somebody"
    held["Name 2"].properties["city"] = "Bergen"  # as planned: no change that anybody minds
    lab.vendor.delete("people", held["Name 3"].id)
    before = len(lab.vendor.pushes)

    done = finish(lab, start_apply(plan, user=lab.owner))

    found = rows(plan)
    assert [found[str(u.pk)].state for u in here] == ["stale", "stale", "applied", "stale", "applied", "applied"]
    assert found[str(here[0].pk)].reason == "Changed there since: city was “City 0”, is “Oslo”."
    assert found[str(here[1].pk)].reason == "Changed there since: name is “Somebody”."
    assert "was deleted" in found[str(here[3].pk)].reason
    assert (done.stale, done.read, done.updated, done.unchanged) == (3, 6, 2, 1)
    assert (done.state, done.reason) == ("problems", "3 stale: changed since the plan.")
    sent = [change for call in lab.vendor.pushes[before:] for change in call.changes]
    assert {(c.local_key, tuple(c.properties.items())) for c in sent} == {
        (str(u.pk), (("city", "Bergen"),)) for u in (here[4], here[5])
    }
