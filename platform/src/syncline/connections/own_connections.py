"""Database connections beside Django's: autocommit, so that what is stored stands whatever the caller's transaction does."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

Connection = psycopg.Connection[Any]

MOST_IDLE = 8
"""In a process; beyond that all are closed: objects that wait for the garbage collector keep theirs."""

#: A crash of the server may forget the last few milliseconds of a budget, which is nothing; a stuck one must not hold us.
_SETTINGS = "SET synchronous_commit = off; SET statement_timeout = '10s'"


class OwnConnections:
    """As many as are in use at once, kept for the next use, closed when the object goes."""

    _all: weakref.WeakSet[OwnConnections] = weakref.WeakSet()
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._idle: list[Connection] = []
        weakref.finalize(self, _close, self._idle)
        with self._lock:
            self._all.add(self)

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """A connection that is nobody else's; one that was used in vain is not used again."""
        with self._lock:
            taken = self._idle.pop() if self._idle else None
        taken = taken or self._opened()
        try:
            yield taken
        except BaseException:
            taken.close()
            raise
        with self._lock:
            self._idle.append(taken)

    @classmethod
    def close_idle(cls) -> None:
        """Closes all that nobody in this process uses at the moment; they are opened again when needed."""
        with cls._lock:
            for one in list(cls._all):
                _close(one._idle)

    def _opened(self) -> Connection:
        if sum(len(one._idle) for one in list(self._all)) >= MOST_IDLE:
            self.close_idle()
        made: Connection = psycopg.connect(**connection.get_connection_params(), autocommit=True)
        made.execute(_SETTINGS)
        return made


def _close(idle: list[Connection]) -> None:
    while idle:
        idle.pop().close()
