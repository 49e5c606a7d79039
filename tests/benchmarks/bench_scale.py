"""Do more worker processes push faster? The first push of companies, by 1, 2 and 4 processes, at an account 100 ms away.

Each process sends from one thread, so that at this distance it is the waiting that is shared out and not the two cores of
a small machine; measured from the start of the run to its end, preparation included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from django.contrib.auth.models import User
from syncline.ledger.models import Link
from syncline.runs.models import Run
from syncline.runs.start import start_run
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 40_000
LATENCY_MS = 100
WORKER = r"""
import sys, time
import django
django.setup()
from django.conf import settings
settings.SYNCLINE_PUSH_THREADS = 1
from syncline.runs.execute import work
from syncline.runs.models import Run
print("ready", flush=True)
run = int(sys.stdin.readline())
while Run.objects.filter(pk=run, state__in=Run.ACTIVE).exists():
    work(3600, run)
    time.sleep(0.1)
"""


@bench("scale-out")
def scale_out() -> Figures:
    seconds = {number: first_push(number) for number in (1, 2, 4)}
    return {
        "records": COMPANIES,
        "latency_ms": LATENCY_MS,
        "speedup_2": round(seconds[1] / seconds[2], 2),
        "speedup_4": round(seconds[1] / seconds[4], 2),
        "seconds": {str(number): round(taken, 1) for number, taken in seconds.items()},
    }


def first_push(processes: int) -> float:
    fill(COMPANIES)
    with RunningSandbox(limits=False, latency_ms=LATENCY_MS) as sandbox:
        user = User.objects.create_superuser("bench")
        sync = scenario.make_syncs(scenario.connect_by_token(user, sandbox), user)[0]
        workers = [begin() for _ in range(processes)]
        started = time.perf_counter()
        run = start_run(sync)
        for worker in workers:
            worker.stdin.write(f"{run.pk}\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        for worker in workers:
            if worker.wait(600):
                raise RuntimeError(f"A worker process ended with {worker.returncode}.")
        run.refresh_from_db()
        taken = (run.finished_at or run.created_at).timestamp() - run.created_at.timestamp()
        there = sum(1 for _ in sandbox.admin.live("companies"))
    check(run, there, time.perf_counter() - started)
    return taken


def begin() -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], env=dict(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def check(run: Run, there: int, seconds: float) -> None:
    linked = Link.objects.filter(remote_id__isnull=False).count()
    if run.state not in ("succeeded", "problems") or run.created != there or linked != there:
        told = {"state": run.state, "reason": run.reason, "created": run.created, "there": there, "linked": linked}
        raise RuntimeError(f"The push did not end well after {seconds:.0f} s: {json.dumps(told)}")
