"""From a commit here to the account, on an idle host: with a worker as `syncline worker` starts it, allowances and limits on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import F
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.ledger.models import Link
from syncline.outbox import watch
from syncline.outbox.models import OutboxKey
from syncline.runs import at_once
from syncline.runs.execute import work
from syncline.runs.models import Run, WorkerCanary
from syncline.syncs.models import Sync
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import Admin, RunningSandbox

from tests.benchmarks.bench_budget import calls
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 1_200
SAMPLES = 20
BURST = 1_000
GAPS = (1.05, 1.13, 1.21, 1.3)
"""Seconds between two samples: more than two parts are apart, and such that they meet every moment of what comes round."""


@bench("change-to-hubspot")
def change_to_hubspot() -> Figures:
    """`p50_ms`, `p95_ms`, `max_ms`: from the commit of one changed row to when the account shows it. Then `burst` rows in as many
    commits, one after the other: `burst_commit_s` they took, `burst_s` from the first commit to the last receipt."""
    with idle_host() as (admin, sync):
        links = list(linked(sync).order_by("pk").values_list("local_key", "remote_id")[:BURST])
        times = sorted(sampled(admin, links[number], GAPS[number % len(GAPS)]) for number in range(SAMPLES))
        time.sleep(1.5)
        burst = bursting(admin, links)
    return {
        "p50_ms": round(1000 * median(times)),
        "p95_ms": round(1000 * times[int(0.95 * (len(times) - 1))]),
        "max_ms": round(1000 * times[-1]),
        "samples": len(times),
        **burst,
    }


@contextmanager
def idle_host() -> Iterator[tuple[Admin, Sync]]:
    """Everything is delivered, changes are watched, and a worker that has shown life waits."""
    fill(COMPANIES)
    with RunningSandbox() as sandbox, override_settings(SYNCLINE_BUDGETS=True):
        user = User.objects.create_superuser("bench")
        connection = scenario.connect_by_token(user, sandbox)
        catalog.refresh(connection)
        sync = scenario.make_sync(connection, user, *scenario.PAIRS[0], at_once=True)
        watch.reconcile()
        at_once.look()
        while Run.objects.filter(state__in=Run.ACTIVE).exists():
            work(3600)
        with worker():
            yield sandbox.admin, sync


@contextmanager
def worker() -> Iterator[None]:
    command = [sys.executable, "-m", "syncline.cli", "worker"]
    process = subprocess.Popen(command, env={**os.environ, "SYNCLINE_BUDGETS": "on"}, start_new_session=True)
    try:
        until(lambda: WorkerCanary.objects.filter(pid__gt=0, beat_at__gt=F("started_at")).exists(), "The worker shows no life.")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def linked(sync: Sync) -> Any:
    mine = {"connection": sync.connection_id, "object_type": sync.object_type, "dataset": sync.dataset}
    return Link.objects.filter(**mine, state=Link.State.DELIVERED, remote_id__isnull=False)


def sampled(admin: Admin, link: tuple[str, str], gap: float) -> float:
    (key, remote_id), text = link, f"changed at {time.time()}"
    change(key, text)
    committed = time.monotonic()
    until(lambda: arrived(admin, [remote_id], text) == 1, "The change did not arrive.", 0.02)
    took = time.monotonic() - committed
    time.sleep(gap)
    return took


def bursting(admin: Admin, links: Sequence[tuple[str, str]]) -> dict[str, Any]:
    admin.reset_counters()
    before = Run.objects.count()
    text, began = f"burst at {time.time()}", time.monotonic()
    for key, _ in links:
        change(key, text)
    committed = time.monotonic() - began
    ids = [remote_id for _, remote_id in links]
    until(lambda: not OutboxKey.objects.exists(), "The outbox is not emptied.")
    until(lambda: arrived(admin, ids, text) == len(ids), "The burst did not arrive.")
    took = time.monotonic() - began
    used, _ = calls(admin)
    return {
        "burst": len(links),
        "burst_commit_s": round(committed, 2),
        "burst_s": round(took, 2),
        "burst_calls": used,
        "burst_runs": Run.objects.count() - before,
    }


def change(key: str, description: str) -> None:
    apps.get_model("companies", "Company").objects.filter(pk=key).update(description=description)


def arrived(admin: Admin, ids: Sequence[str], description: str) -> int:
    shown = admin.live("companies", ids=",".join(ids))
    return sum(one["properties"].get("description") == description for one in shown)


def until(condition: Callable[[], bool], sorrow: str, pause: float = 0.1, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(sorrow)
        time.sleep(pause)
