"""Ringing and answering."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import RawValue
from typing import Any

from django.conf import settings
from django.db import Error, connections, transaction

from . import canary

logger = logging.getLogger("syncline.background")

#: Takes the seconds it may go on taking new work; gives True when claimable work was left, and the bell rings again.
Drain = Callable[[float], bool]

CLOCK_NAME = "syncline clock"
ANSWER = "syncline.background.answer"
TICK = "syncline.background.tick"
BACKLOG = 50  # doorbells waiting; the clock adds none while there are more

_drains: dict[str, Drain] = {}
clock: dict[str, float] = {}
_stop = RawValue(ctypes.c_bool, False)  # shared with the forked workers; no lock a killed one could keep


def on(queue: str, drain: Drain) -> None:
    """Says who answers when `queue` is rung; called in `ready()`, so that every worker process knows it."""
    if _drains.setdefault(queue, drain) is not drain:
        raise ValueError(f"The queue {queue} is drained by {_drains[queue]} already.")


def every(seconds: float, queue: str) -> None:
    """Rings `queue` again and again while a worker runs; at least once a minute, whatever happens to the worker."""
    clock[queue] = seconds


def ring(queue: str, *, key: str | None = None) -> None:
    """Asks some worker to drain `queue`. Inside a transaction the bell is heard when that one commits.

    `key`: the bell of one cluster alone, instead of the one that all hear.
    """
    from django_q.tasks import async_task

    only: dict[str, Any] = {"cluster": key} if key else {}
    with transaction.atomic():  # outside of one, Django-Q2 would close the caller's connection
        async_task(ANSWER, queue, task_name=queue, save=False, **only)


def answer(queue: str) -> bool:
    """Runs in a worker process, once for each ring. False when the drain failed; the clock rings again anyway."""
    drain = canary.answer if queue == canary.QUEUE else _drains.get(queue)
    if drain is None:
        logger.error("Nothing drains the queue %s; it was rung by another version of this host.", queue)
        return False
    try:
        with canary.kept_alive():
            again = drain(float(settings.SYNCLINE_DRAIN_SECONDS))
        if again and not stopping():
            ring(queue)
    except Error as error:
        logger.warning("The queue %s could not be drained (%s); the clock rings it again.", queue, type(error).__name__)
        connections.close_all()
        return False
    except Exception:
        logger.exception("The queue %s could not be drained; the clock rings it again.", queue)
        return False
    return True


def tick() -> None:
    """Rings every queue of the clock, unless so many doorbells wait that these would only join the line."""
    ring_all(list(clock))


def ring_all(queues: Sequence[str]) -> None:
    if _waiting() <= BACKLOG:
        for queue in queues:
            ring(queue)


def stopping() -> bool:
    """Whether this worker was asked to stop: a drain then finishes the batch it is at and gives its claim back."""
    return bool(_stop.value)


def stop(asked: bool = True) -> None:
    """Told by the parent process of a worker, seen by those it forked."""
    _stop.value = asked


def _waiting() -> int:
    from django_q.conf import Conf
    from django_q.models import OrmQ

    return int(OrmQ.objects.filter(key=Conf.CLUSTER_NAME).count())


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
