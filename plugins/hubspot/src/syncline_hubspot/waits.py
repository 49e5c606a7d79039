"""How long to stay away after a refusal: HubSpot sends no Retry-After with its 429s."""

from __future__ import annotations

import orjson
from syncline.contract import Pause, Response

LOCKED = 2.0
SECOND = 1.0
ROLLING = 10.0
DAY_USED_UP = 3600.0


class Waits:
    """One per request: waits for the ten-second allowance grow, because it frees itself bit by bit.

    The day's allowance is named, because a call that counts against any limit may hit it.
    """

    def __init__(self) -> None:
        self._refused = 0

    def __call__(self, response: Response) -> Pause:
        return Pause(self._seconds(response), "daily" if _policy(response) == "DAILY" else "")

    def _seconds(self, response: Response) -> float:
        asked = _asked(response)
        if asked is not None:
            return asked
        if response.status == 423:
            return LOCKED
        if response.status == 477:  # the account is being moved to another data centre
            return DAY_USED_UP
        return self._too_many(_policy(response))

    def _too_many(self, policy: str) -> float:
        if policy == "DAILY":
            return DAY_USED_UP
        if policy == "TEN_SECONDLY_ROLLING":
            self._refused += 1
            return min(ROLLING, 2.0**self._refused)
        return SECOND


class FileWaits(Waits):
    """Of imports: one refused by no policy is one too many for today, or too large; other calls need not wait for that."""

    def _too_many(self, policy: str) -> float:
        return super()._too_many(policy) if policy else DAY_USED_UP


def _policy(response: Response) -> str:
    """The policy's name; search answers name none."""
    try:
        return str(orjson.loads(response.body).get("policyName", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ""


def _asked(response: Response) -> float | None:
    """Retry-After where it does appear: seconds, or milliseconds when above an hour."""
    text = response.headers.get("Retry-After", "")
    if not text.isdigit():
        return None
    return int(text) / 1000 if response.status == 429 and int(text) > 3600 else float(text)
