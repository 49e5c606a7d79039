"""The sandbox's clock: real time plus what a test added, so that lags and expiries need no waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    def __init__(self) -> None:
        self._wall = time.time()
        self._started = time.monotonic()
        self._added = 0.0

    def now(self) -> float:
        """Seconds since the epoch; never goes back, even if the machine's wall clock does."""
        return self._wall + time.monotonic() - self._started + self._added

    def advance(self, seconds: float) -> float:
        if seconds < 0:
            raise ValueError("The sandbox's clock only moves forward.")
        self._added += seconds
        return self.now()


def iso(seconds: float) -> str:
    """As HubSpot writes instants: UTC, milliseconds unless they are zero."""
    moment = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
