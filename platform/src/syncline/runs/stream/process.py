"""The process of `syncline stream`: keeps continuous syncs going, carries out its share of them, and stops in good order."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from syncline.background.processes import keep_what_is_loaded
from syncline.runs import inbox
from syncline.runs.models import RunPart

from . import claiming, relay
from .carrying import in_thread
from .keeping import EVERY, Keeper

LOOK: Final = 0.05
CLAIM_EVERY: Final = 1.0

log = logging.getLogger("syncline.runs")


@dataclass
class Carried:
    """A part that one of our threads is at."""

    part: RunPart
    thread: threading.Thread
    stop: threading.Event
    wake: threading.Event = field(default_factory=threading.Event)


class Stream:
    """`stop`: set by whoever wants it to end; the parts are given back then."""

    def __init__(self) -> None:
        host, pid = socket.gethostname()[:60], os.getpid()
        self._me = claiming.Process(f"{host}:{pid}:{uuid.uuid4().hex[:6]}", host, pid)
        self._carried: dict[int, Carried] = {}
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def run(self) -> int:
        """Until asked to stop: 0, or 1 when parts did not stop in time."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)
        keep_what_is_loaded()
        return self.work()

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self.stop.set()

    def work(self) -> int:
        log.info("Stream process %s begins.", self._me.name)
        keeper = Keeper()
        threads = [
            self._every(EVERY, keeper.look, "keeper"),
            self._every(claiming.BEAT, lambda: claiming.beat(self._me), "beat"),
            self._every(LOOK, self._look, "look"),
        ]
        self._repeat(CLAIM_EVERY, self._share)
        return self._end(threads)

    def _every(self, seconds: float, step: Callable[[], object], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._repeat, args=(seconds, step), name=name, daemon=True)
        thread.start()
        return thread

    def _repeat(self, seconds: float, step: Callable[[], object]) -> None:
        """The database may go and come back meanwhile."""
        trouble = False
        try:
            while not self.stop.is_set():
                try:
                    step()
                    trouble = False
                except (DatabaseError, InterfaceError) as error:
                    if not trouble:
                        log.warning("PostgreSQL cannot be asked (%s); trying again.", type(error).__name__)
                    trouble = True
                    connections.close_all()
                except Exception:
                    log.exception("A step of the stream process failed; it goes on.")
                self.stop.wait(1.0 if trouble else seconds)
        finally:
            connections.close_all()

    def _look(self) -> None:
        """Events that wait are queued for those that pass them on, who are told."""
        if inbox.claimable():
            inbox.dispatch()
        relays = {one.part.pk: one for one in self._at_hand() if one.part.kind == RunPart.Kind.RELAY}
        for part_id in relay.waiting(list(relays)):
            relays[part_id].wake.set()

    def _at_hand(self) -> list[Carried]:
        with self._lock:
            return list(self._carried.values())

    def _share(self) -> None:
        self._reap()
        share = claiming.share()
        while len(self._carried) < share and not self.stop.is_set() and self._take():
            pass
        for one in self._at_hand()[: max(0, len(self._carried) - share)]:
            one.stop.set()
            one.wake.set()

    def _take(self) -> bool:
        claim = claiming.claim(self._me.name)
        if claim is None:
            return False
        stop, wake = threading.Event(), threading.Event()
        with self._lock:
            self._carried[claim.part.pk] = Carried(claim.part, in_thread(claim, stop, wake), stop, wake)
        return True

    def _reap(self) -> None:
        with self._lock:
            self._carried = {pk: one for pk, one in self._carried.items() if one.thread.is_alive()}

    def _end(self, threads: list[threading.Thread]) -> int:
        """What is under way is finished and stored; what is not by then, another process takes over when the lease ends."""
        for one in self._at_hand():
            one.stop.set()
            one.wake.set()
        until = time.monotonic() + float(settings.SYNCLINE_STOP_SECONDS)
        for thread in [*threads, *(one.thread for one in self._at_hand())]:
            thread.join(max(0.0, until - time.monotonic()))
        self._reap()
        claiming.leave(self._me)
        connections.close_all()
        log.info("Stream process %s ends; %d parts did not stop in time.", self._me.name, len(self._carried))
        return 1 if self._carried else 0
