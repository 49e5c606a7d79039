"""Plans against the HubSpot sandbox: nothing is written before they are applied, then exactly what they say; killed anywhere."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.contract import Op
from syncline.ledger.models import Entry, Link
from syncline.planning import to_end
from syncline.runs.execute import work
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan import rereading, start
from syncline.runs.plan.start import start_apply, start_plan
from syncline.runs.push import reader, results, sender
from syncline.runs.tick import tick
from syncline.syncs import publish
from syncline.syncs.models import Sync
from syncline_companies.models import Company, Employee
from syncline_host.demo.scenario import connect_by_token, make_sync, make_syncs, run_to_end, seed_account
from syncline_hubspot import objects
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
KILLED = 137
OWN = ("hs_lastmodifieddate", "lastmodifieddate", "hs_task_label")
RECORDS = int(os.environ.get("PLANNED_RECORDS", "1000"))
CHANGED = 50
PLAN_POINTS = (
    "claim.after:1", "claim.after:2", "prepare.done:1", "settle.before:1", "settle.after:1", "record.before:1",
    "record.before:3", "record.after:1", "record.after:3", "cursor.after:1", "finish.before:1", "finish.after:1",
)  # fmt: skip
APPLY_POINTS = (
    "claim.after:2", "mark.before:2", "mark.after:1", "mark.after:4", "call.after:1", "call.after:3", "call.after:6",
    "record.before:2", "record.after:1", "record.after:4", "associate.after:1", "cursor.after:1", "finish.before:1",
)  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True), RunningSandbox(limits=False) as running:
        yield running


def properties(sandbox: RunningSandbox, object_type: str) -> dict[str, dict[str, Any]]:
    """Without what the vendor keeps by itself."""
    live = sandbox.admin.live(object_type)
    return {one["id"]: {n: v for n, v in one["properties"].items() if n not in OWN} for one in live}


def test_exactly_the_planned_fields_are_written_and_what_changed_meanwhile_is_stale(sandbox: RunningSandbox) -> None:
    sandbox.admin.reset()
    Company.objects.bulk_create(Company(name=f"Company {n}", website=f"c{n}.example.org") for n in range(RECORDS))
    user = User.objects.create_superuser("ann", "ann@example.org", "x")
    connected = connect_by_token(user, sandbox)
    catalog.refresh(connected)
    sync = make_sync(connected, user, "companies.company", "companies")
    run_to_end(sync)
    Company.objects.update(name=Concat(F("name"), Value(" Ltd")), description="Planned")
    began = properties(sandbox, "companies")
    sandbox.admin.reset_counters()

    plan = to_end(start_plan(sync, user=user))

    assert (plan.updated, plan.reason) == (RECORDS, f"Planned: {RECORDS:,} to update.")
    assert sandbox.admin.counters()["write_calls"] == 0
    assert properties(sandbox, "companies") == began
    changed = sorted(began, key=int)[:: RECORDS // CHANGED][:CHANGED]
    for number, id_ in enumerate(changed):
        sandbox.admin.patch("companies", id_, {"name": f"Renamed {number}"} if number % 2 else {"website": "other.example.org"})
    before = properties(sandbox, "companies")

    done = to_end(start_apply(plan, user=user))

    after = properties(sandbox, "companies")
    written = {id_ for id_ in after if after[id_] != before[id_]}
    assert (done.updated, done.stale, done.read) == (RECORDS - CHANGED, CHANGED, RECORDS)
    assert written == set(began) - set(changed)
    for id_ in written:
        differing = {name: value for name, value in after[id_].items() if value != before[id_].get(name)}
        assert differing == {"name": f"{before[id_]['name']} Ltd", "description": "Planned"}
    stale = PlanRow.objects.filter(run=plan, state=PlanRow.State.STALE)
    assert {row.remote_id for row in stale} == set(changed)
    assert all(row.reason.startswith("Changed there since: ") for row in stale)


@dataclass(frozen=True)
class World:
    """Companies and half of the people are in the account; then people changed here, and others came."""

    sandbox: RunningSandbox
    syncs: list[Sync]
    user: User

    @property
    def people(self) -> Sync:
        return self.syncs[1]

    def begin(self) -> Run:
        """As it was, and a plan of the people."""
        self.sandbox.admin.reset()
        catalog.refresh(self.syncs[0].connection)
        for sync in self.syncs:
            offered = catalog.object_type(sync.connection, sync.object_type)
            catalog.create_missing(sync.connection, offered, publish.missing_properties(sync))
        with connection.cursor() as cursor:
            tables = ("link", "entry", "errorgroup", "identityindex", "indexstate", "candidate", "planrow", "runpart", "run")
            cursor.execute(f"TRUNCATE {', '.join(f'syncline_{name}' for name in tables)} CASCADE")
        seed_account(self.sandbox.admin)
        run_to_end(self.syncs[0])
        half = list(Employee.objects.order_by("id").values_list("id", flat=True))[::2]
        hidden = list(Employee.objects.exclude(pk__in=half).values())
        Employee.objects.exclude(pk__in=half).delete()
        run_to_end(self.people)
        Employee.objects.bulk_create(Employee(**one) for one in hidden)
        Employee.objects.update(job_title=f"Planned {time.monotonic_ns()}")
        Employee.objects.filter(pk=hidden[0]["id"]).update(email="no address")
        return to_end(start_plan(self.people))

    def crash(self, run: Run, point: str) -> Run:
        """The run is killed there, and carried to its end by another process."""
        assert in_child(lambda: go_on(run), {"SYNCLINE_CRASH_AT": point}) == KILLED, f"It never came to {point}."
        with connection.cursor() as cursor:
            cursor.execute("UPDATE syncline_runpart SET lease_until = now() - interval '1 s' WHERE state = 'leased'")
        assert in_child(lambda: go_on(run), {}) == 0
        run.refresh_from_db()
        assert run.state not in Run.ACTIVE
        return run


def in_child(carry_out: Callable[[], None], environment: dict[str, str]) -> int:
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ.update(environment)
            carry_out()
            code = 0
        except BaseException:  # noqa: BLE001 - told, and turned into the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def go_on(run: Run) -> None:
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        work(30, run.pk)
        tick()
        time.sleep(0.02)


@pytest.fixture
def world(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Small batches, chunks and parts, so that there is much to be killed between."""
    for op in objects.BATCH_SIZES:
        monkeypatch.setitem(objects.BATCH_SIZES, op, 10 if op is Op.ASSOCIATE else 5)
    monkeypatch.setattr(rereading, "SIZE", 20)
    monkeypatch.setattr(start, "ROWS_PER_PART", 40)
    monkeypatch.setattr(sender, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.1)
    monkeypatch.setattr(reader, "CHUNK", 30)
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUSH_THREADS=2):
        sandbox.admin.reset()
        call_command("populate_database", companies=25, clear=True, verbosity=0)
        user = User.objects.create_superuser("ann", "ann@example.org", "x")
        yield World(sandbox, make_syncs(connect_by_token(user, sandbox), user), user)


def as_planned(plan: Run) -> dict[str, tuple[Any, ...]]:
    rows = PlanRow.objects.filter(run=plan)
    return {one.local_key: (one.action, one.remote_id, one.changes, one.associations, one.prints, one.revision) for one in rows}


def test_a_plan_killed_anywhere_is_the_same_plan_and_has_written_nothing(world: World) -> None:
    whole = world.begin()
    expected, counted = as_planned(whole), [getattr(whole, name) for name in Run.NAMES if name != "calls"]
    assert {"create", "update", "rejected"} <= {one[0] for one in expected.values()}
    assert any(one[3] for one in expected.values())
    links = list(Link.objects.order_by("pk").values())
    entries, there = Entry.objects.count(), properties(world.sandbox, "contacts")
    world.sandbox.admin.reset_counters()

    for point in PLAN_POINTS:
        plan = world.crash(start_plan(world.people), point)
        assert (plan.state, plan.reason) == (whole.state, whole.reason), point
        assert as_planned(plan) == expected, point
        assert [getattr(plan, name) for name in Run.NAMES if name != "calls"] == counted, point

    assert world.sandbox.admin.counters()["write_calls"] == 0
    assert properties(world.sandbox, "contacts") == there
    assert list(Link.objects.order_by("pk").values()) == links
    assert Entry.objects.count() == entries


@pytest.mark.parametrize("points", [APPLY_POINTS[0::2], APPLY_POINTS[1::2]])
def test_an_application_killed_anywhere_ends_as_planned_without_duplicates(world: World, points: tuple[str, ...]) -> None:
    for point in points:
        plan = world.begin()
        world.sandbox.admin.reset_counters()
        done = world.crash(start_apply(plan, user=world.user), point)

        rows = list(PlanRow.objects.filter(run=plan))
        writable = [row for row in rows if row.action in rereading.WRITABLE]
        assert {row.state for row in writable} == {"applied"}, (point, [r.reason for r in writable if r.state != "applied"])
        assert (done.read, done.stale) == (len(writable), 0), point
        assert [done.created, done.updated, done.adopted] == [plan.created, plan.updated, plan.adopted], (point, done.unchanged)
        there = properties(world.sandbox, "contacts")
        keys = Counter(one.get(KEY.name) for one in there.values() if one.get(KEY.name))
        assert set(keys.values()) == {1}, point
        links = {link.local_key: link for link in Link.objects.filter(object_type="contacts")}
        for row in writable:
            held = there[str(links[row.local_key].remote_id)]
            assert {n: held.get(n) for n in row.changes} == {n: new for n, (_, new) in row.changes.items()}, point
        again = to_end(start_plan(world.people))
        assert [again.created, again.updated, again.adopted] == [0, 0, 0], point
