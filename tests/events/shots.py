"""Who is killed, and when: by chance, after each has been hit once; beside that, processes die at places that are ordered."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psutil
import psycopg
from syncline.runs.crash import INBOX_POINTS, STREAM_POINTS

from .estate import Estate, Service

#: What is hit, and how often in comparison.
TARGETS: Final = {"stream": 8, "web worker": 4, "web": 3, "worker": 4, "supervisor": 2, "frozen": 2, "drained": 2}
FROZEN: Final = 12.0
"""Seconds; more than a lease."""
POINTS: Final = ("intake.after", *STREAM_POINTS[1:], *INBOX_POINTS, "intake.before", STREAM_POINTS[0])
PATIENCE: Final = 10.0
"""Seconds; a place where nobody came in this time is left for later."""


_CARRYING: Final = (
    "SELECT DISTINCT split_part(owner, ':', 2)::int FROM syncline_runpart WHERE lease_until > now() AND owner ~ ':[0-9]+:'"
)


def carrying(database_url: str) -> set[int]:
    """The processes that have a part; none while the database is away."""
    try:
        with psycopg.connect(database_url, connect_timeout=2) as asked:
            return {pid for (pid,) in asked.execute(_CARRYING)}
    except psycopg.Error:
        return set()


@dataclass
class Shots:
    """`kills`: by kind. `crashes`: by place. `restarts`: of what keeps the data."""

    estate: Estate
    chance: random.Random
    pause: tuple[float, float]
    kills: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    _due: float = 0.0
    _tried: Counter[str] = field(default_factory=Counter)
    _ordered: tuple[str, float] | None = None
    _thawing: list[tuple[float, int]] = field(default_factory=list)
    _restarting: dict[str, threading.Thread] = field(default_factory=dict)

    def step(self) -> None:
        self._thaw(time.monotonic())
        self._look_at_order()
        if self._ordered is None:
            self._order(min(POINTS, key=lambda point: self.crashes[point] + self._tried[point] / 4))
        if time.monotonic() >= self._due:
            self._hit(self._target())
            self._due = time.monotonic() + self.chance.uniform(*self.pause)

    def restart(self, what: str, how: Callable[[], None]) -> bool:
        """In the background, for everything else goes on; False while it is under way."""
        if what in self._restarting and self._restarting[what].is_alive():
            return False
        self.restarts[what] += 1
        self._restarting[what] = threading.Thread(target=self._carry_out, args=(what, how))
        self._restarting[what].start()
        return True

    def rest(self) -> None:
        """Nothing more is killed, and what keeps the data is there again."""
        for restarting in self._restarting.values():
            restarting.join()
        self._thaw(float("inf"))
        self._look_at_order()
        self.estate.order.unlink(missing_ok=True)
        self._ordered = None

    def _carry_out(self, what: str, how: Callable[[], None]) -> None:
        try:
            how()
        except Exception as error:  # noqa: BLE001 - told with the verdict
            self.troubles.append(f"{what} could not be restarted: {error}")

    def _target(self) -> str:
        if fresh := [name for name in TARGETS if not self.kills[name]]:
            return fresh[0]
        return self.chance.choices(list(TARGETS), list(TARGETS.values()))[0]

    def _hit(self, target: str) -> None:
        estate = self.estate
        how: dict[str, Callable[[], bool]] = {
            "stream": lambda: self._at_work(lambda stream: stream.signal(signal.SIGKILL)),
            "drained": lambda: self._at_work(lambda stream: stream.signal(signal.SIGTERM)),
            "web": lambda: estate.services["web"].signal(signal.SIGKILL),
            "web worker": lambda: self._kill_one(estate.services["web"].below()),
            "worker": lambda: self._kill_one(estate.workers[0].role("worker")),
            "supervisor": self._bury,
            "frozen": lambda: self._at_work(self._freeze),
        }
        self.kills[target] += how[target]()

    def _at_work(self, hit: Callable[[Service], bool]) -> bool:
        """One that has something to lose: who was started a moment ago has no part yet."""
        pids = carrying(self.estate.database_url)
        found = [one for one in self.estate.streams if one.process is not None and one.process.pid in pids]
        return bool(found) and hit(self.chance.choice(found))

    def _kill_one(self, found: list[psutil.Process]) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            if found:
                self.chance.choice(found).kill()
                return True
        return False

    def _bury(self) -> bool:
        self.estate.bury(self.estate.workers[0])
        self.estate.start(SYNCLINE_WORKERS="1", SYNCLINE_LOG_LEVEL="WARNING")
        return True

    def _freeze(self, stream: Service) -> bool:
        """It knows nothing of the time that passes, and goes on in the belief that it still has its parts."""
        if self._thawing or stream.process is None or not stream.signal(signal.SIGSTOP):
            return False
        self._thawing.append((time.monotonic() + FROZEN, stream.process.pid))
        return True

    def _thaw(self, now: float) -> None:
        for until, pid in [one for one in self._thawing if one[0] <= now]:
            self._thawing.remove((until, pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _order(self, point: str) -> None:
        self._ordered = point, time.monotonic()
        self._tried[point] += 1
        draft = self.estate.order.with_suffix(".draft")
        draft.write_text(point)
        draft.rename(self.estate.order)

    def _look_at_order(self) -> None:
        if self._ordered is None:
            return
        point, since = self._ordered
        if not self.estate.order.exists():
            self.crashes[point] += 1
            self._ordered = None
        elif time.monotonic() - since > PATIENCE:
            self.estate.order.unlink(missing_ok=True)
            self._ordered = None
