"""Workers that pull are killed with -9, at chosen places and at any moment; then rows, ledger and positions are compared with
the account, record by record."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.ledger.models import Entry
from syncline.ledger.pulled import Checkpoint, Listed
from syncline.runs.crash import PULL_POINTS
from syncline.runs.execute import work
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import pages
from syncline.runs.start import start_run
from syncline.runs.tick import tick
from syncline.syncs.models import Sync
from syncline_companies.models import Company
from syncline_host.demo.scenario import connect_by_token, make_sync
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.inbound.books import compare

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
RECORDS, KILLS, LOT = 1500, 50, 100


@dataclass
class Account:
    """The account, and the sync that pulls its companies."""

    sandbox: RunningSandbox
    sync: Sync
    made: int = 0

    def grow(self, number: int) -> None:
        names = [{"name": f"Company {n}", "domain": f"c{n}.example"} for n in range(self.made, self.made + number)]
        self.sandbox.admin.seed("companies", names)
        self.made += number

    def edit(self, dice: random.Random, number: int) -> None:
        ids = dice.sample([record["id"] for record in self.sandbox.admin.live("companies")], number)
        self.sandbox.admin.edit("companies", {"description": f"edit {dice.random()}"}, ids)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as running:
        yield running


@pytest.fixture
def account(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Small lots, so that there is much to be killed between."""
    monkeypatch.setattr(pages, "LOT", LOT)
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        sandbox.admin.reset()
        user = User.objects.create_superuser("ann", "ann@example.org", "x")
        found = connect_by_token(user, sandbox)
        catalog.refresh(found)
        sync = make_sync(found, user, "companies.company", "companies", direction="pull")
        made = Account(sandbox, sync)
        made.grow(RECORDS)
        yield made


def fork(run: Run, at: str = "") -> int:
    """A worker in a process of its own; gives its pid."""
    connections.close_all()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ["SYNCLINE_CRASH_AT"] = at
        go_on(run)
        code = 0
    except BaseException:  # noqa: BLE001 - told, and turned into the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def go_on(run: Run) -> None:
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        work(30, run.pk)
        tick()
        time.sleep(0.02)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(pid: int, after: float) -> bool:
    """Kills it unless it has ended before."""
    time.sleep(after)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        assert os.waitstatus_to_exitcode(status) == 0
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def expire() -> None:
    """The leases of the dead run out at once."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncline_runpart SET lease_until = now() - interval '1 s' WHERE state = 'leased'")


def active(run: Run) -> bool:
    return Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists()


def calls_of(account: Account) -> int:
    return int(account.sandbox.admin.counters()["read_calls"])


def check_run(run: Run, account: Account, kind: str) -> None:
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, run.reason
    entries = Counter(Entry.objects.filter(run_id=run.pk).values_list("status", flat=True))
    assert (run.created, run.updated) == (entries["created"], entries["updated"])
    if kind == Run.Kind.FULL:
        assert run.created + run.updated + run.unchanged == account.made
    checkpoint = Checkpoint.objects.get(sync=account.sync)
    assert (checkpoint.position, checkpoint.window_until, checkpoint.run_id) == ("", None, None)
    assert checkpoint.seen_until is not None
    assert checkpoint.seen_until >= run.created_at
    assert not Listed.objects.exists()


@pytest.mark.parametrize(("point", "nth"), [(p, n) for p in PULL_POINTS for n in ((1,) if p == "pull.end" else (1, 7, 15))])
def test_a_pull_killed_there_goes_on_where_it_stood(account: Account, point: str, nth: int) -> None:
    run = start_run(account.sync)
    assert ended(fork(run, f"{point}:{nth}")) == 137

    expire()
    before = Company.objects.count()
    calls = calls_of(account)
    assert ended(fork(run)) == 0

    check_run(run, account, Run.Kind.FULL)
    compare(account.sandbox.admin)
    pages_left = (RECORDS - before) // 100
    assert calls_of(account) - calls <= pages_left + 20


def test_fifty_kills_at_any_moment(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    dice, kills, runs = random.Random(4), 0, 0
    while kills < KILLS:
        kind = Run.Kind.FULL if runs % 3 == 0 else Run.Kind.CHANGES
        run = start_run(account.sync, kind=kind)
        while active(run):
            kills += killed(fork(run), dice.uniform(0.05, 1.2))
            expire()
            RunPart.objects.filter(run=run, attempt__gt=4).update(attempt=1)  # a real worker is not killed eight times in a row
        check_run(run, account, kind)
        compare(account.sandbox.admin)
        runs += 1
        account.grow(dice.randrange(100, 400))
        account.edit(dice, 300)
    with capsys.disabled():
        print(f"\npull: kills={kills} runs={runs} records={account.made} duplicates=0 losses=0")
