"""How well a push uses the vendor's allowance, and how several processes share one."""

from __future__ import annotations

import os
import time
import uuid

from django.contrib.auth.models import User
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import Admin, RunningSandbox

from tests.benchmarks.hammer import Hammering, most_in, result, start
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 20_000
LIMIT, WINDOW = 190, 10.0
PROCESSES, SECONDS = 6, 60.0
NOT_GENERAL = ("search", "associations_create", "associations_archive", "associations_read")


@bench("push-ceiling")
def push_ceiling() -> Figures:
    """20,000 companies into a sandbox that grants 190 general calls in any ten seconds.

    `allowance_share` is the general calls that the sandbox granted during the run, divided by 19 for each second from the
    start of the run to its end, looking up and closing included.
    """
    fill(COMPANIES)
    with RunningSandbox() as sandbox, override_settings(SYNCLINE_BUDGETS=True):
        scenario.seed_account(sandbox.admin)
        user = User.objects.create_superuser("bench")
        connection = scenario.connect_by_token(user, sandbox)
        catalog.refresh(connection)
        sync = scenario.make_sync(connection, user, *scenario.PAIRS[0])
        time.sleep(WINDOW)  # what was called to get here is forgotten
        sandbox.admin.reset_counters()
        started = time.perf_counter()
        run = scenario.run_to_end(sync)
        seconds = time.perf_counter() - started
        granted, refused = calls(sandbox.admin)
    return {
        "records": run.read,
        "calls": granted,
        "seconds": round(seconds, 2),
        "records_per_s": round(run.read / seconds),
        "allowance_share": round(granted / (seconds * LIMIT / WINDOW), 4),
        "answers_429": refused,
        "state": run.state,
    }


def calls(admin: Admin) -> tuple[int, int]:
    """General calls granted, and answers 429 of any kind."""
    counters = admin.counters()
    other = sum(counters.get(kind, 0) for kind in NOT_GENERAL)
    return counters["total_calls"] - other - counters["answers_429"], counters["answers_429"]


@bench("budget-hammer")
def budget_hammer() -> Figures:
    """Six backfilling processes for a minute on one limit, and a person who makes a call now and then."""
    scope = f"hammer:{uuid.uuid4().hex}"
    one = Hammering(scope, size=LIMIT, window=WINDOW, seconds=SECONDS, begin=time.monotonic() + 10.0)
    person = Hammering(scope, "interactive", LIMIT, WINDOW, SECONDS, one.begin, rest=1.0)
    running = [start(one, os.environ) for _ in range(PROCESSES)]
    waiting = result(start(person, os.environ))
    times = [result(process)["times"] for process in running]
    together = [at for own in times for at in own] + waiting["times"]
    shares = [len(own) * PROCESSES / sum(map(len, times)) for own in times]
    return {
        "max_in_any_10s": most_in(together, WINDOW),
        "limit": LIMIT,
        "calls": len(together),
        "allowance_share": round(len(together) / (SECONDS * LIMIT / WINDOW), 4),
        "share_min": round(min(shares), 4),
        "share_max": round(max(shares), 4),
        "interactive_wait_max_s": round(waiting["wait_max"], 3),
    }
