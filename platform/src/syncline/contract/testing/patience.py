"""Calls that may never come back: made by a thread that nobody waits for beyond a limit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from .check import Breach, attempt

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], otherwise: str) -> T | Exception:
    """What the call gave or raised. A call that lasts longer is left to itself, and is a breach of which `otherwise` tells."""
    heard: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            heard.put(attempt(call))
        except BaseException as stop:  # noqa: BLE001 - what would end the process ends a thread in silence
            heard.put(RuntimeError(f"It tried to end the process: {stop!r}"))

    threading.Thread(target=run, daemon=True).start()
    try:
        return heard.get(timeout=seconds)
    except queue.Empty:
        raise Breach(otherwise) from None
