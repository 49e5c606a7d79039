"""Looking out, several times a second, for what nobody rings for: in threads of the process that has the clock.

That one goes on when the workers below it are busy or stall. What a look finds it hands on by ringing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.db import Error, connections

from . import bell

logger = logging.getLogger("syncline.background")

Look = Callable[[], None]

SHARE: Final = 0.1
"""Of its time, at most, a lookout spends looking: one that takes long looks more rarely."""
AFTER_FAILURE: Final = 5.0

_lookouts: list[Lookout] = []


@dataclass(frozen=True, slots=True)
class Lookout:
    every: float
    look: Look

    def keep(self) -> None:
        """Until the worker is asked to stop."""
        try:
            while not bell.stopping():
                time.sleep(self.once())
        finally:
            connections.close_all()

    def once(self) -> float:
        """Looks; gives the seconds until the next time."""
        began = time.monotonic()
        try:
            self.look()
        except Error as error:
            logger.warning("A lookout cannot use the database (%s); trying again.", type(error).__name__)
            connections.close_all()
            return AFTER_FAILURE
        except Exception:
            logger.exception("A lookout failed; trying again.")
            return AFTER_FAILURE
        return max(self.every, (time.monotonic() - began) * (1 / SHARE - 1))


def look_out(every: float, look: Look) -> None:
    """Carries `look` out again and again beside the clock of each worker, so many seconds apart.

    It must not take long, and something else must do the same sometimes: a thread can die unseen.
    """
    _lookouts.append(Lookout(every, look))


def keep_all() -> None:
    """Called once the cluster has forked: a thread is not taken along."""
    for one in _lookouts:
        threading.Thread(target=one.keep, name="lookout", daemon=True).start()
