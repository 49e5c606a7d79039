"""Places where a test may kill the process: `SYNCLINE_CRASH_AT=name:nth` ends it there, as kill -9 would.

`SYNCLINE_CRASH_AT=@path` names a file into which a test writes a place while workers run: the first process that comes there
removes the file and dies.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
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

BULK_POINTS: Final = ("bulk.marked", "bulk.accepted", "bulk.token", "bulk.recorded", "bulk.done")
"""Around a bulk job of the vendor."""

PULL_POINTS: Final = ("pull.before", "pull.after", "pull.end")
"""Of a pull."""

INBOX_POINTS: Final = ("inbox.reading", "inbox.read", "inbox.taken", "inbox.led", "inbox.after")
"""On the way from the inbox to a run."""

STREAM_POINTS: Final = ("stream.claimed", "stream.before", "stream.after", "relay.pushed", "relay.settled")
"""Of continuous syncs: around what is taken in, and around what is passed on."""

_seen: Counter[str] = Counter()
_lock = threading.Lock()


def point(name: str) -> None:
    wanted = os.environ.get("SYNCLINE_CRASH_AT")
    if not wanted:
        return
    if wanted.startswith("@"):
        _obey(Path(wanted[1:]), name)
        return
    place, _, nth = wanted.partition(":")
    if place != name:
        return
    with _lock:
        _seen[name] += 1
        if _seen[name] == int(nth or 1):
            os._exit(137)


def _obey(order: Path, name: str) -> None:
    with suppress(FileNotFoundError):  # none was given, or another process was faster
        if order.read_text() == name:
            order.unlink()
            os._exit(137)
