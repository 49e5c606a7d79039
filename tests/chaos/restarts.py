"""How long a stalled cluster was without a sign of life, as its supervisor says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from .house import House

STALLED, WORKS = "gave no sign of life", re.compile(r"works again, ([\d.]+) s after")


def slowest(logs: Iterable[Path]) -> list[float]:
    """Of each restart after a stall, seconds from the last sign of life before it to the first one after."""
    return [seconds for log in logs for seconds in _of(log.read_text(errors="replace"))]


def _of(log: str) -> Iterable[float]:
    stalled = False
    for line in log.splitlines():
        if "Its processes are ended and started anew" in line:
            stalled = stalled or STALLED in line
        elif found := WORKS.search(line):
            if stalled:
                yield float(found[1])
            stalled = False


def with_defaults(house: House) -> float:
    """Stalls a worker whose settings were left alone; gives the seconds until it works again."""
    worker = house.start(SYNCLINE_STALL_SECONDS="40", SYNCLINE_LEASE_SECONDS="30", SYNCLINE_LOG_LEVEL="INFO")
    for _try in range(5):
        _wait(lambda: len(worker.role("worker")) == 2, 60)
        time.sleep(12)  # two signs of life
        killed = time.monotonic()
        for process in worker.role("worker"):
            process.kill()
        if _wait(lambda: bool(slowest([worker.log])), 100):
            return time.monotonic() - killed
    raise RuntimeError(f"The cluster never stalled: {worker.log.read_text()}")


def _wait(condition: object, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if callable(condition) and condition():
            return True
        time.sleep(0.2)
    return False
