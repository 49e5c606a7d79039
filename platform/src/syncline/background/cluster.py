"""The processes of one worker: Django-Q2's cluster, and clock and lookouts in the process that started it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

from django.conf import settings
from django.db import Error, connections

from . import bell, canary, lookout, processes

logger = logging.getLogger("syncline.background")

STEP = 0.2


def run_cluster(name: str, restarts: int = 0) -> int:
    """Runs a cluster and the clock until SIGTERM or ^C; gives the exit code, 1 when the cluster died by itself."""
    from django_q.cluster import Cluster
    from django_q.signals import post_execute

    processes.follow_forks()
    bell.install_schedule()
    canary.begin(name, restarts)
    post_execute.connect(canary.heard, dispatch_uid="syncline.canary")
    connections.close_all()  # the cluster forks; a connection must not be shared
    bell.stop(False)
    cluster = Cluster()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ask_to_stop)
    cluster.start()
    logger.info("Worker %s started: %s processes.", name, settings.Q_CLUSTER["workers"])
    lookout.keep_all()
    _run_clock(lambda: bool(cluster.sentinel.is_alive()))
    died = not bell.stopping()
    if died:
        logger.error("The cluster of worker %s ended by itself.", name)
    else:
        cluster.stop()
        _safely(canary.end)
    connections.close_all()
    return int(died)


def _ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    bell.stop()


def _run_clock(alive: Callable[[], bool]) -> None:
    """The parent process is idle otherwise, and goes on when workers stall; Django-Q2's own schedules are too slow."""
    due = dict.fromkeys((*bell.clock, canary.QUEUE), 0.0)
    every = {**bell.clock, canary.QUEUE: canary.interval()}
    while alive() and not bell.stopping():
        now = time.monotonic()
        late = [queue for queue in due if due[queue] <= now]
        for queue in late:
            due[queue] = now + every[queue]
        if late:
            _safely(partial(_ring, late))
        time.sleep(STEP)


def _ring(queues: list[str]) -> None:
    if canary.QUEUE in queues and not canary.waiting():
        bell.ring(canary.QUEUE, key=canary.key())
    bell.ring_all([queue for queue in queues if queue != canary.QUEUE])


def _safely(work: Callable[[], None]) -> None:
    try:
        work()
    except Error as error:
        logger.warning("Worker process %s cannot use the database (%s); trying again.", os.getpid(), type(error).__name__)
        connections.close_all()
