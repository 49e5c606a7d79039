"""Watches over the processes of one worker, and starts them anew when they died or stalled.

A Django-Q2 cluster whose processes are killed may go on looking alive while nothing in it works: the killed one took a lock
along. So nothing here believes in processes that exist. What counts is the sign of life that a cluster gives when a bell of its
own has come all the way (`background/canary.py`). The supervisor itself loads neither models nor apps, holds no connection
between two looks, and never waits without end.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

import psycopg

from syncline.background import canary, processes
from syncline.background.canary import Sign

logger = logging.getLogger("syncline.supervisor")

#: Carries out a worker's cluster in a process made for it; takes the number of restarts, gives the exit code.
CarryOut = Callable[[str, int], int]

STEP: Final = 0.2
LONGEST_PAUSE: Final = 60.0
REAPS_WITHIN: Final = 2.0
STARTS_WITHIN: Final = 30.0  # seconds to load everything on a busy machine; a shorter stall counts from then on


@dataclass
class Watch:
    """Counts the seconds without a sign of life. Those in which nobody could be asked prove nothing."""

    stall: float
    silence: float = 0.0
    sign: Sign | None = None

    @property
    def started(self) -> bool:
        return self.sign is not None

    @property
    def alive(self) -> bool:
        """Whether it has done anything since it was started."""
        return self.sign is not None and self.sign.alive

    @property
    def limit(self) -> float:
        if not self.started:
            return max(self.stall, STARTS_WITHIN)
        return self.stall if self.alive else 2 * self.stall

    @property
    def stalled(self) -> bool:
        return self.silence >= self.limit

    def saw(self, sign: Sign | None, seconds: float) -> None:
        """What a look showed, `seconds` after the last one."""
        if sign is None or sign == self.sign:
            self.silence += seconds
        else:
            self.silence, self.sign = 0.0, sign

    def could_not_look(self) -> None:
        """A cluster needs a moment too when the database comes back."""
        self.silence = min(self.silence, self.stall / 2)


@dataclass(frozen=True)
class Group:
    """A process and all that it forks: they are one process group, and end together."""

    pid: int

    @classmethod
    def start(cls, carry_out: Callable[[], int]) -> Group:
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(supervisor, carry_out)
        return cls(pid)

    def ended(self) -> bool:
        """Whether the first process has; it stays a zombie, so that its number is given to nobody until `kill`."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ask_to_end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> int:
        """Ends whatever of it is left; gives the exit code of its first process."""
        for kill in (os.killpg, os.kill):  # it may have had no time to become a group
            with suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self._reap()
        return os.waitstatus_to_exitcode(status)

    def _reap(self) -> None:
        """As process 1 of a container we inherit orphans."""
        end = time.monotonic() + REAPS_WITHIN
        with suppress(ChildProcessError):
            while time.monotonic() < end:
                os.waitpid(-self.pid, os.WNOHANG)
                time.sleep(0.02)


def _be_child(supervisor: int, carry_out: Callable[[], int]) -> None:
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        processes.die_with(supervisor)
        code = carry_out()
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 1
    except BaseException:  # noqa: BLE001 - told, and turned into the exit code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def pause(failures: int) -> float:
    """Seconds before the next start, after so many in a row that ended before they showed life."""
    return min(LONGEST_PAUSE, 2.0 ** (failures - 1)) if failures else 0.0


class Supervisor:
    """`grace`: seconds between asking a worker to stop and ending it. A second request ends it at once."""

    def __init__(self, carry_out: CarryOut, *, stall: float, grace: float) -> None:
        self.name = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._carry_out, self._stall, self._grace = carry_out, stall, grace
        self._requests = 0
        self._last_life: float | None = None  # when the last sign was seen
        self._away = False  # the database

    def run(self) -> int:
        """Until asked to stop: 0. A worker that fails before it starts, the first time, ends it with its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)
        failures = 0
        for restarts in itertools.count():
            group = Group.start(lambda restarts=restarts: self._carry_out(self.name, restarts))  # type: ignore[misc]
            watch = Watch(self._stall)
            self._watch(group, watch, restarts)
            if self._requests:
                return self._end(group)
            code = group.kill()
            if restarts == 0 and not watch.started and code >= 0 and self._reachable():
                return code or 1  # its own fault: neither a signal nor the database
            failures = 0 if watch.alive else failures + 1
            self._tell(watch, code, restarts + 1)
            if not self._may_start(failures):
                return 0
        return 0

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self._requests += 1

    def _watch(self, group: Group, watch: Watch, restarts: int) -> None:
        """Until it ended or stalled, or we are asked to stop."""
        every = min(canary.interval(), self._stall / 4)
        last = time.monotonic()
        while not (self._requests or watch.stalled or group.ended()):
            if time.monotonic() - last >= every:
                self._look(group, watch, restarts, time.monotonic() - last)
                last = time.monotonic()
            time.sleep(STEP)

    def _look(self, group: Group, watch: Watch, restarts: int, seconds: float) -> None:
        was, lived = watch.sign, watch.alive
        if not self._ask(group.pid, watch, seconds):
            watch.could_not_look()
        if watch.sign == was or not watch.alive:
            return
        if restarts and not lived and self._last_life is not None:
            silent = time.monotonic() - self._last_life
            logger.info("Worker %s works again, %.1f s after its last sign of life.", self.name, silent)
        self._last_life = time.monotonic()

    def _reachable(self) -> bool:
        try:
            canary.reach()
        except psycopg.Error as error:
            self._note(error)
            return False
        self._note(None)
        return True

    def _ask(self, pid: int, watch: Watch, seconds: float) -> bool:
        """Twice, since a connection that was cut says nothing about the next; gives whether there was an answer."""
        for _attempt in range(2):
            try:
                watch.saw(canary.look(self.name, pid), seconds)
            except psycopg.Error as error:
                trouble = error
            else:
                self._note(None)
                return True
        self._note(trouble)
        return False

    def _note(self, trouble: psycopg.Error | None) -> None:
        if trouble and not self._away:
            logger.warning("PostgreSQL does not answer; worker %s is left alone until it does: %s", self.name, trouble)
        elif self._away and not trouble:
            logger.info("PostgreSQL answers again.")
        self._away = trouble is not None

    def _tell(self, watch: Watch, code: int, restart: int) -> None:
        why = f"gave no sign of life for {watch.silence:.0f} s" if watch.stalled else f"ended by itself (exit code {code})"
        logger.error("Worker %s %s. Its processes are ended and started anew (restart %s).", self.name, why, restart)

    def _may_start(self, failures: int) -> bool:
        """Waits: longer from time to time while it dies before it works, and until the database can be asked."""
        end = time.monotonic() + pause(failures)
        while not self._requests:
            if time.monotonic() >= end and self._reachable():
                return True
            time.sleep(STEP)
        return False

    def _end(self, group: Group) -> int:
        group.ask_to_end()
        end = time.monotonic() + self._grace
        while not group.ended():
            if time.monotonic() > end or self._requests > 1:
                logger.warning("Worker %s did not stop within %.0f s; its processes are ended.", self.name, self._grace)
                group.kill()
                return 1
            time.sleep(STEP)
        code = group.kill()
        return 0 if code == -signal.SIGTERM else code  # asked before it could listen
