"""Places where a test may kill the process: `SYNCLINE_CRASH_AT=name:nth` ends it there, as kill -9 would."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Final

POINTS: Final = (
    "claim.after",
    "mark.before",
    "mark.after",
    "call.after",
    "record.before",
    "record.after",
    "settle.before",
    "settle.after",
    "associate.after",
    "prepare.page",
    "prepare.done",
    "cursor.after",
    "finish.before",
    "finish.after",
)
"""Of a push."""

CHANGE_POINTS: Final = ("changes.taken", "changes.after", "removal.before", "removal.after")
"""On the way from the outbox to a run, and around removals."""
_seen: Counter[str] = Counter()
_lock = threading.Lock()


def point(name: str) -> None:
    wanted = os.environ.get("SYNCLINE_CRASH_AT")
    if not wanted:
        return
    place, _, nth = wanted.partition(":")
    if place != name:
        return
    with _lock:
        _seen[name] += 1
        if _seen[name] == int(nth or 1):
            os._exit(137)
