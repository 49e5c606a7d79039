"""Answers that are asked for again and again, remembered for a bounded time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from django.conf import settings

MOST: Final = 20_000
SETTING: Final = "LICENSING_CACHE_SECONDS"
DEFAULT: Final = 5.0

Question = tuple[str, str]


def bound() -> float:
    """Seconds for which an answer may be older than the database, 0: never. A setting of Django's, or of the environment."""
    given = getattr(settings, SETTING, os.environ.get(SETTING, DEFAULT))
    return float(given)


class Answers:
    """For one process. An answer counts from the moment it was asked for, so what was committed earlier is in it."""

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._known: dict[Question, tuple[float, bytes]] = {}

    def get(self, question: Question, ask: Callable[[], bytes]) -> bytes:
        asked = self._clock()
        until, known = self._known.get(question, (asked, b""))
        return known if asked < until else self._ask(question, ask, asked)

    def forget(self) -> None:
        self._known.clear()

    def _ask(self, question: Question, ask: Callable[[], bytes], asked: float) -> bytes:
        answer, seconds = ask(), bound() if self._seconds is None else self._seconds
        if len(self._known) >= MOST:
            self.forget()
        self._known[question] = (asked + seconds, answer)
        return answer
