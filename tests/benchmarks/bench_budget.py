"""How well a push uses the vendor's allowance, and how several processes share one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.ledger.models import Link
from syncline.runs.models import Run, RunPart
from syncline.runs.start import push_keys, start_run
from syncline.syncs.models import Sync
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import Admin, RunningSandbox

from tests.benchmarks.hammer import Hammering, most_in, result, start
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 20_000
LIMIT, WINDOW = 190, 10.0
PROCESSES, SECONDS = 6, 60.0
WORKERS = 2
NOT_GENERAL = ("search", "associations_create", "associations_archive", "associations_read")

WORKER = r"""
import json, sys, time
import django
django.setup()
from syncline.connections.budget import PostgresBudget
from syncline.runs.execute import work
from syncline.runs.models import Run
calls, interactive, acquire = [], [], PostgresBudget.acquire
def noted(budget, limit):
    asked = time.monotonic()
    acquire(budget, limit)
    calls.append(time.monotonic())
    if budget.lane == "interactive":
        interactive.append(calls[-1] - asked)
PostgresBudget.acquire = noted
print("ready", flush=True)
run = int(sys.stdin.readline())
while Run.objects.filter(pk=run, state__in=Run.ACTIVE).exists():
    work(3600, run)
    time.sleep(0.02)
print(json.dumps({"calls": calls, "interactive": interactive, "ended": time.monotonic()}))
"""


@bench("push-ceiling")
def push_ceiling() -> Figures:
    """20,000 companies by two worker processes, as many as a host has by default, into a sandbox that grants 190 general calls
    in any ten seconds.

    `allowance_share` is the general calls that the sandbox granted during the run, divided by 19 for each second from the
    start of the run to its end, looking up and closing included. `share_while_calling`: from its first call to its last.
    """
    with first_push() as (sandbox, sync, workers):
        run, times = pushed(sync, workers)
        granted, refused = calls(sandbox.admin)
    return {
        "records": run.read,
        "calls": granted,
        "seconds": round(times[-1] - times[0], 2),
        "records_per_s": round(run.read / (times[-1] - times[0])),
        "allowance_share": share(granted, times[-1] - times[0]),
        "share_while_calling": share(granted, times[2] - times[1]),
        "answers_429": refused,
        "state": run.state,
    }


@contextmanager
def first_push() -> Iterator[tuple[RunningSandbox, Sync, list[subprocess.Popen[str]]]]:
    """A sandbox with its limits, a sync that never ran, and workers that wait for the number of its run."""
    fill(COMPANIES)
    with RunningSandbox() as sandbox, override_settings(SYNCLINE_BUDGETS=True):
        scenario.seed_account(sandbox.admin)
        user = User.objects.create_superuser("bench")
        connection = scenario.connect_by_token(user, sandbox)
        catalog.refresh(connection)
        sync = scenario.make_sync(connection, user, *scenario.PAIRS[0])
        workers = [worker() for _ in range(WORKERS)]
        time.sleep(WINDOW)  # what was called to get here is forgotten
        sandbox.admin.reset_counters()
        yield sandbox, sync, workers


def worker() -> subprocess.Popen[str]:
    """One that is ready and waits for the number of its run."""
    environment = {**os.environ, "SYNCLINE_BUDGETS": "on"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    made = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, text=True, **pipes)  # type: ignore[call-overload]
    if made.stdout.readline() != "ready\n":
        raise RuntimeError("A worker did not start; its message stands above.")
    return made  # type: ignore[no-any-return]


def pushed(sync: Sync, workers: Sequence[subprocess.Popen[str]]) -> tuple[Run, list[float]]:
    """The run, and when it began, called first, called last and ended."""
    began = time.monotonic()
    run = start_run(sync)
    tell(workers, run)
    told = [told_by(process) for process in workers]
    run.refresh_from_db()
    if run.state not in (Run.State.SUCCEEDED, Run.State.PROBLEMS):
        raise RuntimeError(f"The push did not end well: {run.state}, {run.reason}")
    called = sorted(at for one in told for at in one["calls"])
    return run, [began, called[0], called[-1], min(one["ended"] for one in told)]


def tell(workers: Sequence[subprocess.Popen[str]], run: Run) -> None:
    for process in workers:
        process.stdin.write(f"{run.pk}\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]


def told_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a worker notes: when its calls left, how long those of a person waited, when it found the run ended."""
    noted: dict[str, Any] = json.loads(process.communicate(timeout=600)[0])
    return noted


def share(granted: int, seconds: float) -> float:
    return round(granted / (seconds * LIMIT / WINDOW), 4)


def calls(admin: Admin) -> tuple[int, int]:
    """General calls granted, and answers 429 of any kind."""
    counters = admin.counters()
    other = sum(counters.get(kind, 0) for kind in NOT_GENERAL)
    return counters["total_calls"] - other - counters["answers_429"], counters["answers_429"]


@bench("budget-hammer")
def budget_hammer() -> Figures:
    """Six backfilling processes for a minute on one limit, and a person who makes a call now and then.

    `share_min`, `share_max`: of the processes, 1 being equal shares. `interactive_push_max_s`: while a first push uses the whole
    allowance, records it has delivered are changed and pushed by a person; the longest time from asking to the stored
    answer. `interactive_push_wait_max_s`: the longest that one of those calls waited for room.
    """
    return {**hammered(), **pushed_by_a_person()}


def hammered() -> dict[str, float]:
    scope = f"hammer:{uuid.uuid4().hex}"
    one = Hammering(scope, size=LIMIT, window=WINDOW, seconds=SECONDS)
    person = Hammering(scope, "interactive", LIMIT, WINDOW, SECONDS, rest=1.0)
    *running, waiter = start([one] * PROCESSES + [person], os.environ)
    times, waiting = [result(process)["times"] for process in running], result(waiter)
    together = [at for own in times for at in own] + waiting["times"]
    shares = [len(own) * PROCESSES / sum(map(len, times)) for own in times]
    return {
        "max_in_any_10s": most_in(together, WINDOW),
        "limit": LIMIT,
        "calls": len(together),
        "allowance_share": share(len(together), SECONDS),
        "share_min": round(min(shares), 4),
        "share_max": round(max(shares), 4),
        "interactive_wait_max_s": round(waiting["wait_max"], 3),
    }


def pushed_by_a_person(times: int = 8) -> dict[str, float]:
    with first_push() as (sandbox, sync, workers):
        run = start_run(sync)
        tell(workers, run)
        delivered = Link.objects.filter(state=Link.State.DELIVERED, remote_id__isnull=False)
        while delivered.count() < times:
            time.sleep(0.1)
        took = [push_one(sync, key, f"seen by a person {number}") for number, key in enumerate(keys_of(delivered, times))]
        told = [told_by(process) for process in workers]
        _, refused = calls(sandbox.admin)
    waits = [wait for one in told for wait in one["interactive"]]
    return {
        "interactive_pushes": len(took),
        "interactive_push_max_s": round(max(took), 2),
        "interactive_push_wait_max_s": round(max(waits), 3),
        "answers_429": refused,
    }


def keys_of(links: QuerySet[Link], number: int) -> list[str]:
    return list(links.order_by("pk").values_list("local_key", flat=True)[:number])


def push_one(sync: Sync, key: str, description: str) -> float:
    """Seconds from asking to the stored answer, while the sync's own run goes on."""
    apps.get_model("companies", "Company").objects.filter(pk=key).update(description=description)
    asked = time.monotonic()
    run = push_keys(sync, [key])
    mine = RunPart.objects.filter(run=run, kind=RunPart.Kind.KEYS, priority=RunPart.Priority.INTERACTIVE)
    while mine.exclude(state=RunPart.State.DONE).exists():
        time.sleep(0.01)
    return time.monotonic() - asked
