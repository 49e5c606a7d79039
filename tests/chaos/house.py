"""The house in which everything is killed: a PostgreSQL of its own, and workers as an operator would start them.

A worker is `syncline worker` with small batches, a quick clock and short leases, so that much happens between two kills.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from syncline.background.processes import PREFIX
from syncline.localdb import LocalDatabase, ensure_database

ROOT = Path(__file__).parents[2]
NAME = "chaos"
SHORT = {"SYNCLINE_LEASE_SECONDS": "6", "SYNCLINE_STALL_SECONDS": "6", "SYNCLINE_WORKERS": "2"}


@dataclass
class Worker:
    """One `syncline worker`: the supervisor that was started, and whatever runs below it at the moment."""

    process: subprocess.Popen[bytes]
    log: Path

    def below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def role(self, role: str) -> list[psutil.Process]:
        """Its processes of one kind: cluster, guard, worker, monitor, pusher."""
        found = []
        for process in self.below():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and process.name() == PREFIX + role:
                    found.append(process)
        return found


@dataclass
class Crew:
    """Workers of one database. `state`: where their logs are, and the order to end."""

    state: Path
    database_url: str
    workers: list[Worker] = field(default_factory=list)
    buried: list[Worker] = field(default_factory=list)  # their logs are read in the end

    @property
    def order(self) -> Path:
        """What is written here ends the first process that comes to that place (syncline.runs.crash)."""
        return self.state / "crash"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "DJANGO_SETTINGS_MODULE": "syncline_host.settings",
            "SYNCLINE_ALLOW_LOOPBACK": "1",
        }

    def start(self, **changed: str) -> Worker:
        log = self.state / f"worker{len(self.workers) + len(self.buried)}.log"
        given = {**self.environment(), **SHORT, "SYNCLINE_LOG_LEVEL": "INFO", "SYNCLINE_CRASH_AT": f"@{self.order}", **changed}
        command = [sys.executable, "-m", "tests.chaos.worker"]
        with log.open("wb") as written:
            process = subprocess.Popen(command, env=given, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def bury(self, worker: Worker) -> None:
        """The whole of it is killed at once, as by the end of a machine."""
        below = worker.below()
        worker.process.kill()
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        worker.process.wait()
        self.workers.remove(worker)
        self.buried.append(worker)

    def bury_all(self) -> None:
        for worker in list(self.workers):
            self.bury(worker)


@dataclass(kw_only=True)
class House(Crew):
    database: LocalDatabase

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "SYNCLINE_STATE": str(self.state)}

    def restart_database(self) -> None:
        """As after a crash of the server: no connection is told, and the log is replayed."""
        self.database._pg("pg_ctl", "restart", "-w", "-m", "immediate", *self.database._start_options())


@contextlib.contextmanager
def opened(state: Path) -> Iterator[House]:
    database = LocalDatabase(state)
    with database.used():
        ensure_database(database.url(NAME), fresh=True)
        house = House(state, database.url(NAME), database=database)
        try:
            yield house
        finally:
            house.bury_all()
