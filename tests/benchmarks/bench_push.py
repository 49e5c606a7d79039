"""How many calls, how fast and with how much processor time companies and people get into the HubSpot sandbox.

The sandbox runs in a process of its own with its rate limits off, so that the figures are ours and not the limits'.
Calls are the sandbox's own count; the minimum is what the vendor's batch sizes allow, see `minimum_calls`. `calls_ratio` is
calls by that minimum, and null where the minimum is 0, whether calls were made or not: `calls` says which.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import F, Value
from django.db.models.functions import Concat, Mod
from syncline.ledger.models import Link
from syncline.runs.models import Run
from syncline.syncs.models import Sync
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.bench import run as measure_sandbox
from syncline_hubspot.sandbox.process import Admin, RunningSandbox

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

CALLS = ("write_calls", "read_calls")


@dataclass
class Measured:
    """Sums over the objects pushed one after the other."""

    records: int = 0
    calls: int = 0
    minimum: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    by_object: dict[str, dict[str, Any]] = field(default_factory=dict)

    def figures(self, **more: object) -> Figures:
        return {
            "records": self.records,
            "calls": self.calls,
            "minimum_calls": self.minimum,
            "calls_ratio": round(self.calls / self.minimum, 4) if self.minimum else None,
            "records_per_s": round(self.records / self.seconds),
            "cpu_s_per_1000": round(1000 * self.cpu / self.records, 4),
            "seconds": round(self.seconds, 2),
            **more,
            "by_object": self.by_object,
        }


@bench("push-20k-first", "push-20k-unchanged", "push-20k-changed")
def push_20k() -> Iterator[Figures]:
    yield from three_pushes(20_000)


@bench("push-100k-first", "push-100k-unchanged", "push-100k-changed")
def push_100k() -> Iterator[Figures]:
    yield from three_pushes(100_000)


def three_pushes(companies: int) -> Iterator[Figures]:
    fill(companies)
    alone = {name: figures["calls_per_s"] for name, figures in measure_sandbox(1.0).items() if isinstance(figures, dict)}
    with RunningSandbox(limits=False) as sandbox:
        scenario.seed_account(sandbox.admin)
        user = User.objects.create_superuser("bench")
        syncs = scenario.make_syncs(scenario.connect_by_token(user, sandbox), user)
        yield push(sandbox.admin, syncs).figures(sandbox_alone_calls_per_s=alone)
        yield push(sandbox.admin, syncs).figures()
        change_one_percent()
        yield push(sandbox.admin, syncs).figures()


def push(admin: Admin, syncs: Iterable[Sync]) -> Measured:
    total = Measured()
    for sync in syncs:
        remote = sum(1 for _ in admin.live(sync.object_type))
        before = associated(sync)
        admin.reset_counters()
        started, cpu = time.perf_counter(), time.process_time()
        run = scenario.run_to_end(sync)
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
        counters = admin.counters()
        calls = sum(counters[name] for name in CALLS)
        minimum = minimum_calls(run, remote, distinct_match_values(sync), associated(sync) - before)
        total.records += run.read
        total.calls += calls
        total.minimum += minimum
        total.seconds += seconds
        total.cpu += spent
        total.by_object[sync.object_type] = {
            "calls": calls,
            "minimum_calls": minimum,
            "records_per_s": round(run.read / seconds),
            "created": run.created,
            "updated": run.updated,
            "adopted": run.adopted,
            "unchanged": run.unchanged,
            "ambiguous": run.ambiguous,
            "rejected": run.rejected,
        }
    return total


def minimum_calls(run: Run, remote_records: int, match_values: int, associations: int) -> int:
    """What nobody can do better with batches of 100 records and 2,000 associations; nothing new needs no look-up."""
    new = run.created + run.adopted
    looking_up = min(ceil(remote_records / 100), ceil(match_values / 100)) if new else 0
    changed = run.updated + run.adopted
    return looking_up + ceil(run.created / 100) + ceil(changed / 100) + ceil(associations / 2000)


def associated(sync: Sync) -> int:
    links = Link.objects.filter(connection=sync.connection, object_type=sync.object_type).exclude(associations={})
    return sum(len(ids) for one in links.values_list("associations", flat=True).iterator() for ids in one.values())


def distinct_match_values(sync: Sync) -> int:
    """The first step's values decide how many look-ups asking would take."""
    if sync.object_type == "contacts":
        return apps.get_model("companies", "Employee").objects.exclude(email="").values("email").distinct().count()
    return apps.get_model("companies", "Company").objects.exclude(website="").values("website").distinct().count()


def change_one_percent() -> None:
    """By QuerySet.update(): no signal, no time stamp of the model."""
    company, employee = apps.get_model("companies", "Company"), apps.get_model("companies", "Employee")
    every = {"rest": 0}
    company.objects.annotate(rest=Mod("id", 100)).filter(**every).update(
        description=Concat(F("description"), Value(" (changed)"))
    )
    employee.objects.annotate(rest=Mod("id", 100)).filter(**every).update(job_title=Value("Head of change"))
