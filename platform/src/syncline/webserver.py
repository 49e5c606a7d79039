"""How the web server is started: by `syncline web`, by `make up` and in the image."""

from __future__ import annotations

import os
import sys


def argv(bind: str, workers: int | None = None) -> list[str]:
    """A request may wait for the database only: each has a thread, and vendors' deliveries are short."""
    number = workers or int(os.environ.get("SYNCLINE_WEB_WORKERS", "2"))
    threads = os.environ.get("SYNCLINE_WEB_THREADS", "4")
    command = [sys.executable, "-m", "gunicorn", "syncline_host.wsgi", "--bind", bind]
    # /dev/shm, where there is one: a worker's sign of life must not wait for a disk
    shm = ["--worker-tmp-dir", "/dev/shm"] if os.path.isdir("/dev/shm") else []  # noqa: PTH112, S108
    return [*command, "--workers", str(number), "--threads", threads, "--log-level", "warning", *shm]


def become(bind: str) -> None:
    """Takes this process's place, so that signals reach it."""
    command = argv(bind)
    os.execv(command[0], command)  # noqa: S606
