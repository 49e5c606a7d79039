"""Does the memory of a push depend on how many records there are? Each size runs in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.benchmarks.harness import Figures, bench

SIZES = {"peak_mb_100k": 100_000, "peak_mb_1m": 1_000_000}

CHILD = r"""
import json, re, sys
from pathlib import Path
import django
django.setup()
from syncline.runs.execute import work
from syncline.runs.models import Run
run = Run.objects.get(pk=int(sys.argv[1]))
while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
    work(3600, run.pk)
run.refresh_from_db()
# not getrusage: its maximum is inherited from the process that started this one
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"peak_mb": round(peak, 1), "read": run.read, "created": run.created, "state": run.state, "reason": run.reason}))
"""


@bench("push-memory")
def push_memory() -> Figures:
    """Peak resident memory of the pushing process, first push of companies."""
    peaks = {name: first_push(size) for name, size in SIZES.items()}
    small, large = peaks.values()
    return {**peaks, "ratio": round(large / small, 3)}


def first_push(companies: int) -> float:
    from django.contrib.auth.models import User
    from syncline.runs.start import start_run
    from syncline_host.demo import scenario
    from syncline_hubspot.sandbox.process import RunningSandbox

    from tests.benchmarks.register import fill

    fill(companies)
    with RunningSandbox(limits=False) as sandbox:
        scenario.seed_account(sandbox.admin)
        user = User.objects.create_superuser("bench")
        sync = scenario.make_syncs(scenario.connect_by_token(user, sandbox), user)[0]
        run = start_run(sync)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(run.pk)], env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=True
        )
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["read"] != companies or seen["state"] not in ("succeeded", "problems"):
        raise RuntimeError(f"The push of {companies} companies did not end well: {seen}")
    return float(seen["peak_mb"])
