"""What every delivery asks for and hardly ever changes, remembered for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

MOST: Final = 256

T = TypeVar("T")


class Remembered(Generic[T]):
    """What is not there is asked for each time: whoever guesses would fill the memory."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._known: dict[str, tuple[float, T]] = {}

    def get(self, key: str, ask: Callable[[], T | None]) -> T | None:
        now = time.monotonic()
        until, known = self._known.get(key, (now, None))
        return known if now < until else self._asked(key, ask, now)

    def forget(self) -> None:
        self._known.clear()

    def _asked(self, key: str, ask: Callable[[], T | None], now: float) -> T | None:
        found = ask()
        if len(self._known) >= MOST:
            self.forget()
        if found is not None:
            self._known[key] = (now + self.seconds, found)
        else:
            self._known.pop(key, None)
        return found
