"""What each process of a worker does after its fork: end when its parent ends, and carry a name that says what it is for.

A cluster whose guard or parent was killed must not go on: its orphans would take bells while nobody watches them.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.util import register_after_fork
from typing import Final

_SET_PARENT_DEATH_SIGNAL, _SET_NAME = 1, 15  # linux/prctl.h
LINUX: Final = sys.platform.startswith("linux")
PREFIX = "syncl-"


class _Forked:
    """The registry of forks holds its keys weakly."""

    @staticmethod
    def begin(_key: object) -> None:
        """In a process that `multiprocessing` has just made."""
        me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
        target = getattr(me, "_target", None)
        become(_ROLES.get(getattr(target, "__name__", ""), "process"))
        if parent is not None and parent.pid is not None:
            die_with(parent.pid)


_ROLES = {"Sentinel": "guard", "worker": "worker", "monitor": "monitor", "pusher": "pusher"}
_forked = _Forked()


def follow_forks() -> None:
    """From now on, in this process and those it forks."""
    become("cluster")
    keep_what_is_loaded()
    register_after_fork(_forked, _Forked.begin)


def keep_what_is_loaded() -> None:
    """What stands in memory now stays to the end: it need not be searched for garbage, which is a fifth of a pull's time."""
    gc.collect()
    gc.freeze()


def become(role: str) -> None:
    """The short name in `ps -eo pid,comm` and /proc; at most 15 letters."""
    if LINUX:
        _prctl(_SET_NAME, ctypes.c_char_p((PREFIX + role).encode()))


def die_with(parent: int) -> None:
    """This process ends when `parent` does, however that one ends."""
    if LINUX:
        _prctl(_SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:  # it was faster than we
            os._exit(1)
    else:
        threading.Thread(target=watch_parent, args=(parent,), name="parent", daemon=True).start()


def watch_parent(parent: int, pause: float = 1.0) -> None:
    """Where the kernel does not tell."""
    while os.getppid() == parent:
        time.sleep(pause)
    os._exit(1)


def _prctl(option: int, value: ctypes.c_char_p | ctypes.c_ulong) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option} was refused")
