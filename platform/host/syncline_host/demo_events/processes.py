"""What carries the events: web, worker, stream processes and the simulator, each a process as in production."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from syncline import webserver as web

from syncline_host import up

STREAMS = 2
STARTS_WITHIN = 60.0


class NotUp(RuntimeError):
    """A process did not start in time."""


@contextmanager
def running(streams: int = STREAMS) -> Iterator[str]:
    """Gives the address of the web processes."""
    listener = up.listen()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    os.environ["SYNCLINE_PUBLIC_URL"] = address
    processes = up.Processes()
    try:
        processes.start("web", web.argv(f"fd://{listener.fileno()}"), pass_fds=(listener.fileno(),))
        processes.start("worker", [sys.executable, "-m", "syncline.cli", "worker"])
        for number in range(streams):
            processes.start(f"stream {number + 1}", [sys.executable, "-m", "syncline.cli", "stream"])
        _wait_for(f"{address}/healthz")
        yield address
    finally:
        processes.stop()
        listener.close()


def _wait_for(url: str) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise NotUp("The web processes did not answer in time. Their messages are above.")


def simulated(url: str, messages: int, **options: Any) -> Mapping[str, Any]:
    """What the simulator expects, by its last line."""
    given = {"url": url, "messages": messages, **options}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "syncline.cli", "simulate", "salesforce", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotUp(f"The simulator stopped: {done.stderr.strip()[-500:]}")
    told: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told
