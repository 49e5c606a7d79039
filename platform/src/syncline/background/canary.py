"""The sign of life of one worker: a bell that only its own processes hear and that has to come all the way.

The clock rings it, the pusher takes it from the table, a worker process answers it with a look into the database, and the
monitor process, which hears last of each answer, stores the sign. A process among them that is dead, or waits for a lock which
a killed one took along, ends the signs. A worker process that is busy for longer gives them itself.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error, connection, connections

logger = logging.getLogger("syncline.background")

QUEUE = "canary"
KEPT = "1 day"  # how long a worker that went without a word is still listed

_me: tuple[str, int] | None = None  # name and process id of the cluster that this process belongs to

_BEGIN = """
INSERT INTO syncline_workercanary (cluster, host, pid, restarts, started_at, beat_at) VALUES (%s, %s, %s, %s, now(), now())
ON CONFLICT (cluster) DO UPDATE SET pid = excluded.pid, restarts = excluded.restarts,
       started_at = excluded.started_at, beat_at = excluded.beat_at
"""
_BEAT = "UPDATE syncline_workercanary SET beat_at = clock_timestamp() WHERE cluster = %s AND pid = %s"
_LOOK = "SELECT beat_at, beat_at > started_at FROM syncline_workercanary WHERE cluster = %s AND pid = %s"


@dataclass(frozen=True, slots=True)
class Sign:
    """`alive`: the processes have shown it since they were started; else it is only the start itself."""

    at: dt.datetime
    alive: bool


def stall_seconds() -> float:
    """Without a sign of life for so long, a worker's processes are ended and started anew."""
    return float(settings.SYNCLINE_STALL_SECONDS)


def interval() -> float:
    """Seconds between two signs of life."""
    return max(0.5, stall_seconds() / 9)


def begin(name: str, restarts: int) -> None:
    """Called by the process that is about to start the cluster; those it forks know by it where they belong."""
    global _me  # noqa: PLW0603 - what a process belongs to
    _me = (name, os.getpid())
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, [name, socket.gethostname(), os.getpid(), restarts])
    clean()


def end() -> None:
    """A worker that was asked to stop is not listed any more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM syncline_workercanary WHERE cluster = %s AND pid = %s", _me)


def clean() -> None:
    """Away with workers that are long gone, with bells that nobody will hear, with what Django-Q2 keeps of failures."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM syncline_workercanary WHERE beat_at < now() - %s::interval", [KEPT])
        cursor.execute("DELETE FROM django_q_ormq WHERE starts_with(key, %s) AND lock < now() - interval '1 hour'", [f"{QUEUE}:"])
        cursor.execute("DELETE FROM django_q_task WHERE stopped < now() - interval '30 days'")


def key() -> str:
    """The bell that only the processes of this cluster hear; empty in a process that belongs to none."""
    return f"{QUEUE}:{_me[0]}:{_me[1]}" if _me else ""


def answer(_seconds: float) -> bool:
    """In a worker process: it can reach the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return False


def heard(sender: Any, task: dict[str, Any], **_more: Any) -> None:  # noqa: ARG001 - a signal's receiver
    """In the monitor process, after each task; it must not raise, because that process would end."""
    if tuple(task["args"]) == (QUEUE,) and task["result"] is True:
        beat()


def beat() -> None:
    """A sign of life; nothing in a process that belongs to no cluster."""
    if _me is None:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(_BEAT, _me)
    except Error as error:
        logger.warning("No sign of life could be stored (%s).", type(error).__name__)
        connection.close()


@contextmanager
def kept_alive() -> Iterator[None]:
    """While a worker process drains for long; Django-Q2's `timeout` ends a drain that hangs."""
    if _me is None:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(done,), name="canary", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _beat_until(done: threading.Event) -> None:
    try:
        while not done.wait(interval()):
            beat()
    finally:
        connections.close_all()


def waiting() -> bool:
    """Whether a bell of this cluster is still unheard; a further one would only join the line."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM django_q_ormq WHERE key = %s)", [key()])
        return bool(cursor.fetchone()[0])


def reach() -> None:
    """Raises psycopg.Error when the database does not answer."""
    _connect().close()


def look(name: str, pid: int) -> Sign | None:
    """The last sign of life. None before the start; raises psycopg.Error when nobody can be asked."""
    with _connect() as asked:
        row = asked.execute(_LOOK, [name, pid]).fetchone()
    return Sign(*row) if row else None


def _connect() -> psycopg.Connection[Any]:
    """A connection of its own that gives up soon."""
    return psycopg.connect(**{"connect_timeout": 5, "tcp_user_timeout": 10_000, **connection.get_connection_params()})
