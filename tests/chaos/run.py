"""Three workers push while their processes are killed, crash between commits and lose their database; then the books are checked.

    python -m tests.chaos.run

CHAOS_KILLS (200), CHAOS_RESTARTS (10) of PostgreSQL, CHAOS_SEED (1), CHAOS_COMPANIES (1500), CHAOS_DEFAULT=1 to time a restart
with the settings as they come. Ends with 0 when every run ended by itself, no record was doubled or lost and every worker lives.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import house as houses
from . import restarts
from .killer import Killer
from .worker import small_batches

if TYPE_CHECKING:
    from syncline.runs.models import Run
    from syncline.syncs.models import Sync
    from syncline_hubspot.sandbox.process import RunningSandbox

    from .account import Tally

T = TypeVar("T")
WORKERS = 3
RUN_WITHIN = 180.0  # seconds for a run while everything around it is killed
MINUTE = 60.0
PAUSE = (0.8, 3.2)  # seconds between two kills
NEWCOMERS = 60  # records that are new in each round
EPISODE = 12  # kills in one run; then it may end in peace


def number(name: str, usual: int) -> int:
    return int(os.environ.get(name, usual))


@dataclass
class Chaos:
    house: houses.House
    sandbox: RunningSandbox
    syncs: list[Sync]
    killer: Killer
    tally: Tally
    restarts_left: int
    kills_wanted: int
    chance: random.Random
    runs: int = 0
    restarted: int = 0
    slow: list[str] = field(default_factory=list)

    def episode(self, round_: int) -> None:
        """One run under fire. People follow companies every third time, with their associations."""
        from .account import check_run, compare

        which = 1 if round_ % 3 == 2 else 0
        sync = self.syncs[which]
        change(which, round_)
        name = f"round {round_}, {sync.object_type}"
        begun = sum(self.killer.kills.values())
        if round_ % 2:
            self.sandbox.admin.fault("cut_after", skip=self.chance.randrange(5, 30), times=1)
        self.killer.begin()
        run, seconds = self.carry_out(sync, name, lambda: self.fire(begun))
        self.sandbox.admin.clear_faults()
        check_run(run, sync, self.tally, name)
        compare(sync, self.sandbox.admin, self.tally, name, calm=False)
        kills = sum(self.killer.kills.values())
        print(
            f"{name}: {run.state} after {seconds:.0f} s, {kills} kills, {sum(self.killer.crashes.values())} crashes", flush=True
        )

    def carry_out(self, sync: Sync, name: str, fire: Callable[[], None]) -> tuple[Run, float]:
        from syncline.runs.models import Run
        from syncline.runs.start import start_run

        run = patiently(lambda: start_run(sync))
        self.runs += 1
        begun = time.monotonic()
        while patiently(lambda: Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists()):
            if time.monotonic() - begun > RUN_WITHIN:
                self.stuck(run, name)
                break
            fire()
            time.sleep(0.1)
        self.killer.rest()
        patiently(run.refresh_from_db)
        return run, time.monotonic() - begun

    def fire(self, begun: int) -> None:
        from django.db import connections

        kills = sum(self.killer.kills.values())
        if kills - begun >= EPISODE or kills >= self.kills_wanted:
            self.killer.last_words()
            return
        self.killer.step()
        if self.restarts_left and kills >= (self.restarted + 1) * self.kills_wanted / (self.restarts_left + self.restarted + 1):
            self.house.restart_database()
            connections.close_all()
            self.restarts_left -= 1
            self.restarted += 1

    def stuck(self, run: Run, name: str) -> None:
        parts = list(
            run.parts.exclude(state="done").values("id", "kind", "state", "attempt", "owner", "lease_until", "last_error")
        )
        self.tally.miscounts += 1
        self.tally.tell(f"{name}: run {run.pk} did not end within {RUN_WITHIN:.0f} s: {parts}")
        from syncline.runs.models import Run

        Run.objects.filter(pk=run.pk).update(state=Run.State.CANCELLED)

    def calm(self) -> None:
        """Whatever was in doubt is settled by the next run; the one after that has nothing to write."""
        from .account import check_run, compare

        for sync in self.syncs:
            for _each in range(2):
                run, _ = self.carry_out(sync, "calm", lambda: None)
                check_run(run, sync, self.tally, f"calm, {sync.object_type}")
            compare(sync, self.sandbox.admin, self.tally, "in the end", calm=True)
            if written := run.created + run.updated + run.adopted:
                self.tally.miscounts += 1
                self.tally.tell(f"{sync.object_type}: the second calm run wrote {written} records")

    def stalls(self) -> list[float]:
        return restarts.slowest([one.log for one in (*self.house.workers, *self.house.buried)])

    def verdict(self) -> str:
        crashes, kills = self.killer.crashes, self.killer.kills
        missed = "".join(f", never at {point}" for point in self.killer.points if not crashes[point])
        by_role = " ".join(f"{role} {count}" for role, count in sorted(kills.items()))
        slowest = self.stalls()
        return (
            f"chaos: kills={kills.total()} ({by_role}), crash points={crashes.total()} at {len(crashes)} places{missed}, "
            f"frozen={self.killer.freezes}, "
            f"postgres restarts={self.restarted}, runs={self.runs}, "
            f"duplicates={self.tally.duplicates}, losses={self.tally.losses}, "
            f"miscounts={self.tally.miscounts}, stalled clusters={len(slowest)}, "
            f"slowest restart of a stalled cluster={max(slowest, default=0):.1f} s"
        )


def patiently(ask: Callable[[], T]) -> T:
    """The database may be replaying its log."""
    from django.db import Error, connections

    for left in range(30, -1, -1):
        try:
            return ask()
        except Error:
            connections.close_all()
            if not left:
                raise
            time.sleep(1)
    raise AssertionError


def change(which: int, round_: int) -> None:
    """Every record has something new to deliver, and there are more of them."""
    from syncline_companies.models import Company, Employee

    made = [Company(name=f"Newcomer {round_}-{n}", website=f"www.new-{round_}-{n}.example.com") for n in range(NEWCOMERS)]
    if which == 0:
        Company.objects.bulk_create(made)
        Company.objects.update(description=f"As of round {round_}")
    else:
        first = Company.objects.order_by("id")[:NEWCOMERS]
        Employee.objects.bulk_create(
            Employee(company=one, name=f"Joiner {round_}", email=f"joiner-{round_}@{one.pk}.example.com") for one in first
        )
        Employee.objects.update(job_title=f"Role {round_}")


def populate(companies: int, sandbox: RunningSandbox) -> list[Sync]:
    """A register, and an account that knows every tenth company of it."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from syncline_host.demo import scenario

    call_command("migrate", verbosity=0)
    call_command("populate_database", companies=companies, employees_per_company=0.5, verbosity=0)
    sandbox.admin.seed("companies", list(scenario._known_companies(10)))
    owner = User.objects.create_superuser("chaos")
    return scenario.make_syncs(scenario.connect_by_token(owner, sandbox), owner)


def all_live(house: houses.House) -> bool:
    """Every worker gives signs of life again, by itself."""
    from syncline.runs import workers

    end = time.monotonic() + 60
    while time.monotonic() < end:
        pids = {process.pid for worker in house.workers for process in worker.role("cluster")}
        if len(pids) == WORKERS and pids <= {one.pid for one in workers.listed() if one.quiet_s < 3}:
            return True
        time.sleep(0.2)
    return False


def tell_logs(house: houses.House) -> None:
    """What the workers said last; the traces in it are what one needs first."""
    for worker in house.workers:
        found = [f"{process.pid} {process.name()} {process.status()}" for process in worker.below()]
        print(f"--- {worker.process.pid}, ended: {worker.process.poll()}, below it: {found}")
        print(worker.log.read_text(errors="replace")[-4000:], flush=True)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="chaos-") as state, houses.opened(Path(state)) as house:
        os.environ.update(house.environment())
        os.environ.setdefault("SYNCLINE_LOG_LEVEL", "WARNING")
        import django

        django.setup()
        from syncline.runs import crash
        from syncline_hubspot.sandbox.process import RunningSandbox

        from .account import Tally

        small_batches()
        chance = random.Random(number("CHAOS_SEED", 1))
        with RunningSandbox(limits=False, latency_ms=60, index_lag=2) as sandbox:
            syncs = populate(number("CHAOS_COMPANIES", 1500), sandbox)
            killer = Killer(house, chance, crash.POINTS, PAUSE)
            for _each in range(WORKERS):
                house.start()
            chaos = Chaos(
                house, sandbox, syncs, killer, Tally(), number("CHAOS_RESTARTS", 10), number("CHAOS_KILLS", 200), chance
            )
            return judge(chaos)


def judge(chaos: Chaos) -> int:
    begun = time.monotonic()
    round_ = 0
    while sum(chaos.killer.kills.values()) < chaos.kills_wanted and not chaos.tally.told:
        chaos.episode(round_)
        round_ += 1
    live = all_live(chaos.house)
    if not live:
        chaos.tally.tell("not every worker came back to life")
    chaos.calm()
    if os.environ.get("CHAOS_DEFAULT") == "1":
        print(f"with the settings as they come: {restarts.with_defaults(chaos.house):.1f} s", flush=True)
    if max(chaos.stalls(), default=0) > MINUTE:
        chaos.tally.tell("a stalled cluster was not started anew within a minute")
    if chaos.tally.told:
        tell_logs(chaos.house)
    print(f"{time.monotonic() - begun:.0f} s\n{chaos.verdict()}", flush=True)
    return int(bool(chaos.tally.told))


if __name__ == "__main__":
    sys.exit(main())
