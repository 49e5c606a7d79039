"""A process that calls as fast as a budget lets it: `python -m tests.benchmarks.hammer '{"scope": …}'` prints its calls' times.

Times are those of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Hammering:
    """`rest`: seconds between two calls; a process that is to be measured as a person has some."""

    scope: str
    lane: str = "backfill"
    size: int = 190
    window: float = 10.0
    seconds: float = 60.0
    rest: float = 0.0


def start(all_of_them: Sequence[Hammering], environment: Mapping[str, str]) -> list[subprocess.Popen[str]]:
    """Processes that begin together, once the slowest of them is there."""
    command = [sys.executable, "-m", "tests.benchmarks.hammer"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [
        subprocess.Popen([*command, json.dumps(asdict(one))], env=dict(environment), text=True, **pipes)  # type: ignore[call-overload]
        for one in all_of_them
    ]
    for process in started:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("A hammering process did not start; its message stands above.")
    begin = time.monotonic() + 0.5
    for process in started:
        process.stdin.write(f"{begin}\n")
        process.stdin.flush()
    return started


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """`times` of its calls and the longest wait, `wait_max`."""
    out, _ = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"A hammering process ended with {process.returncode}.")
    found: dict[str, Any] = json.loads(out)
    return found


def most_in(times: Sequence[float], window: float) -> int:
    """The most calls in any window, wherever it starts."""
    ordered, first, most = sorted(times), 0, 0
    for number, at in enumerate(ordered):
        while ordered[first] <= at - window:
            first += 1
        most = max(most, number - first + 1)
    return most


def hammer(one: Hammering, begin: Callable[[], float]) -> dict[str, Any]:
    from syncline.connections.budget import Lane, PostgresBudget
    from syncline.contract import Limit

    limit = Limit("general", "app_account", "every call", one.window, one.size)
    budget = PostgresBudget("hammer", one.scope, [limit], {"general": one.scope}, Lane(one.lane))
    times, longest = list[float](), 0.0
    first = begin()
    time.sleep(max(0.0, first - time.monotonic()))
    while (asked := time.monotonic()) < first + one.seconds:
        budget.acquire("")
        times.append(time.monotonic())
        longest = max(longest, times[-1] - asked)
        time.sleep(one.rest)
    return {"times": times, "wait_max": longest}


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    django.setup()
    print("ready", flush=True)
    sys.stdout.write(json.dumps(hammer(Hammering(**json.loads(sys.argv[1])), lambda: float(sys.stdin.readline()))))
