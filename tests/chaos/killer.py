"""Who is killed, and when: the same seed makes the same choices, though the processes are never at the same place."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from .house import House, Worker

#: what is killed, and how often in comparison
ROLES = {"worker": 8, "workers": 3, "guard": 3, "monitor": 3, "pusher": 3, "cluster": 3, "all": 2, "frozen": 2}
FROZEN = 9.0  # seconds; more than a lease
PATIENCE = 8.0  # seconds; a place where nobody came in this time is left for later
EARLY = ("prepare.page", "prepare.done", "settle.before", "settle.after", "claim.after")  # passed only as a run begins
LATE = ("cursor.after", "finish.before", "finish.after")  # and as its parts end


@dataclass
class Killer:
    """`kills`: processes ended by kill -9, once for each shot, however many it hit."""

    house: House
    chance: random.Random
    points: Sequence[str]
    pause: tuple[float, float]
    kills: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    _tried: Counter[str] = field(default_factory=Counter)  # so that one where nobody comes does not hold up the others
    _ordered: str = ""
    _ordered_at: float = 0.0
    _thawing: list[tuple[float, psutil.Process]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._due = 0.0
        self._late = 0

    def step(self) -> None:
        """Called again and again while a run goes on."""
        self._thaw()
        self._look_at_order()
        if time.monotonic() >= self._due:
            self._shoot()
            self._due = time.monotonic() + self.chance.uniform(*self.pause)

    def begin(self) -> None:
        """A run is about to start: what is passed only then is ordered first."""
        self._late = 0
        self._order(self._rarest(EARLY))

    def last_words(self) -> None:
        """No more shots; two processes may still die where parts end."""
        self._thaw()
        self._look_at_order()
        if not self._ordered and self._late < 2:
            self._late += 1
            self._order(self._rarest(LATE))

    def _rarest(self, points: Sequence[str]) -> str:
        """Where the fewest have died so far."""
        return min(points, key=lambda point: (self.crashes[point] + self._tried[point] / 10, points.index(point)))

    def rest(self) -> None:
        """Nothing more is killed: whoever is frozen goes on, and no order is left."""
        for _until, process in self._thawing:
            _signal(process, signal.SIGCONT)
        self._thawing.clear()
        self._look_at_order()
        self._withdraw()

    def _order(self, point: str) -> None:
        """The next process that comes to this place dies there."""
        self._ordered, self._ordered_at = point, time.monotonic()
        self._tried[point] += 1
        draft = self.house.order.with_suffix(".draft")
        draft.write_text(point)
        draft.rename(self.house.order)

    def _look_at_order(self) -> None:
        if self._ordered and not self.house.order.exists():
            self.crashes[self._ordered] += 1
            self._ordered = ""
        elif self._ordered and time.monotonic() - self._ordered_at > PATIENCE:
            self._withdraw()

    def _withdraw(self) -> None:
        self.house.order.unlink(missing_ok=True)
        self._ordered = ""

    def _shoot(self) -> None:
        if not self._ordered:
            self._order(self._rarest(self.points))
        role = self.chance.choices(list(ROLES), list(ROLES.values()))[0]
        worker = self.chance.choice(self.house.workers)
        if role == "all":
            self.house.bury(worker)
            self.house.start()
            self.kills[role] += 1
        elif role == "frozen":
            self._freeze(worker)
        else:
            self._kill(worker, role)

    def _kill(self, worker: Worker, role: str) -> None:
        """`worker`: one of its worker processes; `workers`: all of them, which is what stalls a cluster."""
        found = worker.role(role.removesuffix("s"))
        if role == "worker" and found:
            found = [self.chance.choice(found)]
        if found:
            self.kills[role] += 1
            for process in found:
                _signal(process, signal.SIGKILL)

    def _freeze(self, worker: Worker) -> None:
        if found := worker.role("worker"):
            process = self.chance.choice(found)
            _signal(process, signal.SIGSTOP)
            self.freezes += 1
            self._thawing.append((time.monotonic() + FROZEN, process))

    def _thaw(self) -> None:
        over = [one for one in self._thawing if one[0] <= time.monotonic()]
        for one in over:
            _signal(one[1], signal.SIGCONT)
            self._thawing.remove(one)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
