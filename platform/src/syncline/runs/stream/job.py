"""A continuous part while it is carried out: a job that ends only when it is told to, and how fast it goes."""

from __future__ import annotations

import threading
import time
from typing import Final

from django.conf import settings
from django.db import connection

from syncline.runs.claims import Claim, Lease
from syncline.runs.job import Job

GAUGED: Final = 2.0
"""Seconds between two looks at the gauge."""

# Whoever comes so far has met no error: the last one is over.
_GAUGE = """
UPDATE syncline_runpart SET behind = %s, rate = %s, last_error = '', failing_since = NULL
WHERE id = %s AND fence = %s AND state = 'leased'
"""


def lease_seconds() -> float:
    """How long nobody takes over the part of a process that gives no sign of life."""
    return float(getattr(settings, "SYNCLINE_STREAM_LEASE_SECONDS", 10.0))


class StreamJob(Job):
    """`stop`: set when the part is to be given back. `wake`: set when there may be something to do."""

    def __init__(self, claim: Claim, lease: Lease, stop: threading.Event, wake: threading.Event) -> None:
        super().__init__(claim, lease, float("inf"))
        self.stop, self.wake, self.gauge = stop, wake, Gauge(claim)

    def interrupted(self) -> bool:
        return self.stop.is_set() or self.lease.lost or self.lease.paused or self.definitions.moved


class Gauge:
    """Messages a second over the last moments, and how many are still to come; kept with the part for people to see."""

    def __init__(self, claim: Claim) -> None:
        self._fence, self._since, self._messages = claim.fence, time.monotonic(), 0

    def saw(self, messages: int, behind: int | None) -> None:
        """Asks the database now and then only."""
        self._messages += messages
        passed = time.monotonic() - self._since
        if passed < GAUGED:
            return
        with connection.cursor() as cursor:
            rate = round(self._messages / passed, 1)
            cursor.execute(_GAUGE, [behind, rate, self._fence.part_id, self._fence.fence])
        self._since, self._messages = time.monotonic(), 0
