"""Calls that may not come back, in standing threads of their own, because nothing else can leave them.

A thread costs as much as a whole reading. So whoever was quick many times in a row is called without one, one call at a time: one
that hangs then holds a single thread of the web server, is not acknowledged, and is watched when the vendor delivers it again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from syncline.contract import ConnectorFault

MOST_STUCK: Final = 4
PROVEN: Final = 50  # quick calls in a row
QUICK: Final = 0.25  # seconds

T = TypeVar("T")


class TookTooLong(ConnectorFault):
    """The connector took too long to read this delivery. Report it to its author; replay the delivery when it is mended."""


class Stuck:
    """How many calls of one kind never came back; from some number on, no more are made."""

    def __init__(self) -> None:
        self.number, self.lock = 0, threading.Lock()

    def add(self, change: int) -> None:
        with self.lock:
            self.number += change


class _Call(Generic[T]):
    def __init__(self, work: Callable[[], T], stuck: Stuck) -> None:
        self.work, self.stuck, self.waiting, self.lock = work, stuck, threading.Lock(), threading.Lock()
        self.waiting.acquire()
        self.ended = self.abandoned = False
        self.values: list[T] = []
        self.error: Exception | None = None

    def run(self) -> bool:
        """False when nobody waited for it to the end."""
        try:
            self.values.append(self.work())
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            self.error = error
        with self.lock:
            self.ended = True
            self.waiting.release()
        return not self.abandoned

    def abandon(self) -> bool:
        """False when it ended at the last moment."""
        with self.lock:
            self.abandoned = not self.ended
            if self.abandoned:
                self.stuck.add(1)
            return self.abandoned

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.values[0]


class _Caller(threading.Thread):
    """Makes one call after the other, until one was abandoned: its place was taken by then."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="syncline-parse")
        self.calls: SimpleQueue[_Call[Any]] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while (call := self.calls.get()).run():
            pass
        call.stuck.add(-1)


_idle: list[_Caller] = []
os.register_at_fork(after_in_child=_idle.clear)  # threads do not come along


def in_time(work: Callable[[], T], seconds: float, stuck: Stuck) -> T:
    """What `work` gives or raises; TookTooLong when it does not end within so many seconds, or others of its kind never did."""
    if stuck.number >= MOST_STUCK:
        raise TookTooLong("Earlier deliveries still keep the connector busy. Restart web server and workers, then replay it.")
    call, caller = _Call(work, stuck), _free()
    caller.calls.put(call)
    if not call.waiting.acquire(timeout=seconds) and call.abandon():
        raise TookTooLong
    _idle.append(caller)
    return call.result()


def _free() -> _Caller:
    try:
        return _idle.pop()
    except IndexError:
        return _Caller()


class Pace:
    """How quick one connector is in one of its hooks."""

    def __init__(self) -> None:
        self.quick, self.stuck, self._alone = 0, Stuck(), threading.Lock()

    def call(self, work: Callable[[], T], seconds: float) -> T:
        """As `in_time`; without its limit when the connector has proven to be quick and no other such call is on its way."""
        if self.quick < PROVEN or not self._alone.acquire(blocking=False):
            return self._measured(lambda: in_time(work, seconds, self.stuck))
        try:
            return self._measured(work)
        finally:
            self._alone.release()

    def _measured(self, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        try:
            return work()
        finally:
            self.quick = self.quick + 1 if time.monotonic() - begun < QUICK else 0
