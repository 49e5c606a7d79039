"""Companies, then their people, then their deals: three syncs of which each follows the one before, from one start.

Calls are the sandbox's own count, beside the least that batches of 100 records and 2,000 associations allow.
"""

from __future__ import annotations

import time
from math import ceil
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count
from syncline.catalog import service as catalog
from syncline.ledger.models import Link
from syncline.runs.execute import work
from syncline.runs.models import Run
from syncline.runs.start import start_run
from syncline.runs.tick import tick
from syncline.syncs.models import Sync
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.benchmarks.bench_push import CALLS, associated
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 20_000
FAMILY = (("companies.company", "companies"), ("companies.person", "contacts"), ("companies.deal", "deals"))


@bench("chain-20k")
def chain() -> Figures:
    fill(COMPANIES)
    with RunningSandbox(limits=False) as sandbox:
        user = User.objects.create_superuser("bench")
        connection = scenario.connect_by_token(user, sandbox)
        catalog.refresh(connection)
        syncs: list[Sync] = []
        for dataset, object_type in FAMILY:
            syncs.append(scenario.make_sync(connection, user, dataset, object_type, follows=syncs[-1] if syncs else None))
        sandbox.admin.reset_counters()
        first = carried_out(syncs)
        calls = sum(sandbox.admin.counters()[name] for name in CALLS)
        sandbox.admin.reset_counters()
        carried_out(syncs)
        again = sum(sandbox.admin.counters()[name] for name in CALLS)
    links = sum(associated(sync) for sync in syncs)
    least = sum(ceil((run.created + run.updated + run.adopted) / 100) for run in first) + ceil(links / 2000) + len(syncs)
    return {
        "records": sum(run.read for run in first),
        "calls": calls,
        "minimum_calls": least,
        "calls_ratio": round(calls / least, 4),
        "associations": links,
        "calls_of_the_second_round": again,
        "states": states(),
        "runs": [told(run) for run in first],
    }


def carried_out(syncs: list[Sync]) -> list[Run]:
    """The head is started; the others follow by themselves."""
    head = start_run(syncs[0])
    while Run.objects.filter(state__in=Run.ACTIVE).exists() or Sync.objects.filter(follows_run_id__isnull=False).exists():
        work(3600)
        tick()
        time.sleep(0.02)
    return list(Run.objects.filter(pk__gte=head.pk).order_by("pk"))


def told(run: Run) -> dict[str, Any]:
    return {"object": run.sync.object_type, "created": run.created, "waiting": run.waiting, "state": run.state}


def states() -> dict[str, int]:
    rows = Link.objects.values("state").annotate(number=Count("*")).order_by("state")
    return {row["state"]: row["number"] for row in rows}
