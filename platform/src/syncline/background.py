"""The doorbell and the clock: the only module that knows Django-Q2.

A task carries the name of a queue and nothing else; whoever answers drains the claimable rows of our own tables. So a
doorbell that is lost, doubled or undecodable costs latency and never work. What Django-Q2 does not promise (see
docs/operations.md) is therefore not relied upon: no retries, no results, no schedules but one.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from types import FrameType

from django.conf import settings
from django.db import connections, transaction

logger = logging.getLogger(__name__)

#: Takes the seconds it may go on taking new work; gives True when claimable work was left, and the bell rings again.
Drain = Callable[[float], bool]

CLOCK_NAME = "syncline clock"
ANSWER = "syncline.background.answer"
TICK = "syncline.background.tick"
BACKLOG = 50  # doorbells waiting; the clock adds none while there are more

_drains: dict[str, Drain] = {}
_clock: dict[str, float] = {}
_stop = RawValue(ctypes.c_bool, False)  # shared with the forked workers; no lock a killed one could keep


def on(queue: str, drain: Drain) -> None:
    """Says who answers when `queue` is rung; called in `ready()`, so that every worker process knows it."""
    if _drains.setdefault(queue, drain) is not drain:
        raise ValueError(f"The queue {queue} is drained by {_drains[queue]} already.")


def every(seconds: float, queue: str) -> None:
    """Rings `queue` again and again while a worker runs; at least once a minute, whatever happens to the worker."""
    _clock[queue] = seconds


def ring(queue: str) -> None:
    """Asks some worker to drain `queue`. Inside a transaction the bell is heard when that one commits."""
    from django_q.tasks import async_task

    with transaction.atomic():  # outside of one, Django-Q2 would close the caller's connection
        async_task(ANSWER, queue, task_name=queue, save=False)


def answer(queue: str) -> None:
    """Runs in a worker process, once for each ring."""
    drain = _drains.get(queue)
    if drain is None:
        logger.error("Nothing drains the queue %s; it was rung by another version of this host.", queue)
    elif drain(float(settings.SYNCLINE_DRAIN_SECONDS)) and not stopping():
        ring(queue)


def tick() -> None:
    """Rings every queue of the clock, unless so many doorbells wait that these would only join the line."""
    if _waiting() <= BACKLOG:
        for queue in _clock:
            ring(queue)


def stopping() -> bool:
    """Whether this worker was asked to stop: a drain then finishes the batch it is at and gives its claim back."""
    return bool(_stop.value)


def run_worker() -> int:
    """Runs a cluster and the clock until SIGTERM or ^C; gives the exit code, 1 when the cluster died by itself."""
    from django_q.cluster import Cluster

    install_schedule()
    connections.close_all()  # the cluster forks; a connection must not be shared
    _stop.value = False
    cluster = Cluster()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ask_to_stop)
    cluster.start()
    logger.info("Worker %s started: %s processes.", os.getpid(), settings.Q_CLUSTER["workers"])
    _run_clock(lambda: bool(cluster.sentinel.is_alive()))
    died = not stopping()
    if died:
        logger.error("The cluster ended by itself; start the worker again.")
    else:
        cluster.stop()
    connections.close_all()
    return int(died)


def _ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    _stop.value = True


def _run_clock(alive: Callable[[], bool]) -> None:
    """The parent process is idle otherwise, and goes on when workers stall; Django-Q2's own schedules are too slow."""
    due = dict.fromkeys(_clock, 0.0)
    while alive() and not stopping():
        now = time.monotonic()
        late = [queue for queue in due if due[queue] <= now]
        for queue in late:
            due[queue] = now + _clock[queue]
        if late:
            _ring_safely(late)
        time.sleep(0.2)


def _ring_safely(queues: list[str]) -> None:
    from django.db import DatabaseError

    try:
        if _waiting() <= BACKLOG:
            for queue in queues:
                ring(queue)
    except DatabaseError:
        logger.exception("The clock could not ring; it tries again.")
        connections.close_all()


def _waiting() -> int:
    from django_q.models import OrmQ

    return int(OrmQ.objects.count())


def install_schedule() -> None:
    """The one schedule row: rings the clock's queues each minute even if the process that runs the clock was killed."""
    from django_q.models import Schedule

    wanted = {"func": TICK, "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1, "args": None, "kwargs": None}
    with transaction.atomic():
        if not Schedule.objects.filter(name=CLOCK_NAME, **wanted).exists():
            Schedule.objects.update_or_create(name=CLOCK_NAME, defaults=wanted)


def hide_admin() -> None:
    """Takes Django-Q2's pages out of the admin: whoever may add a schedule row there may run any code."""
    import django_q.admin  # noqa: F401 - registers its pages now instead of later
    from django.contrib import admin
    from django_q.models import Failure, OrmQ, Schedule, Success

    for model in (Failure, OrmQ, Schedule, Success):
        if admin.site.is_registered(model):
            admin.site.unregister(model)
