"""Call allowances: the rolling ten seconds, search by the second, associations apart, the day. Two families of 429."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .clock import Clock, iso
from .config import Config
from .tokens import Grant
from .wire import ApiError, error

DAY = 86_400


@dataclass(slots=True)
class Limits:
    clock: Clock
    config: Config
    windows: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    days: dict[tuple[int, int], int] = field(default_factory=dict)

    def admit(self, grant: Grant, pool: str) -> dict[str, str]:
        """Counts one call and returns the headers of its answer; raises the 429. A refused call is not counted."""
        if not self.config.limits:
            return {}
        now = self.clock.now()
        headers: dict[str, str] = {}
        if grant.private and self.used_today(grant.portal_id) >= self.config.daily:
            raise daily_reached()
        if pool == "search":
            self._take(("search", str(grant.portal_id)), now, 1.0, self.config.search_per_second, pool)
        elif pool == "associations":
            self._take(("associations", grant.budget), now, 10.0, self.config.associations_burst, pool)
        else:
            headers = self._burst(grant, now)
        if grant.private:  # the day is the account's, and OAuth apps have no part in it
            self.days[self._day(grant.portal_id)] = self.used_today(grant.portal_id) + 1
        return headers | self._daily(grant)

    def _burst(self, grant: Grant, now: float) -> dict[str, str]:
        size = self.config.burst if grant.private else self.config.oauth_burst
        left = self._take(("burst", grant.budget), now, 10.0, size, "burst")
        secondly = max(1, size // 10)
        return {
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(size),
            "X-HubSpot-RateLimit-Remaining": str(left),
            "X-HubSpot-RateLimit-Secondly": str(secondly),
            "X-HubSpot-RateLimit-Secondly-Remaining": str(min(secondly - 1, left)),
        }

    def _take(self, key: tuple[str, str], now: float, window: float, size: int, pool: str) -> int:
        taken = self.windows.setdefault(key, deque())
        while taken and taken[0] <= now - window:
            taken.popleft()
        if len(taken) >= size:
            raise search_reached() if pool == "search" else burst_reached(key[1])
        taken.append(now)
        return size - len(taken)

    def _daily(self, grant: Grant) -> dict[str, str]:
        """Sent to private tokens only."""
        if not grant.private:
            return {}
        left = self.config.daily - self.used_today(grant.portal_id)
        return {"X-HubSpot-RateLimit-Daily": str(self.config.daily), "X-HubSpot-RateLimit-Daily-Remaining": str(left)}

    def used_today(self, portal_id: int) -> int:
        return self.days.get(self._day(portal_id), 0)

    def resets_at(self) -> str:
        return iso((int(self.clock.now()) // DAY + 1) * DAY)

    def _day(self, portal_id: int) -> tuple[int, int]:
        return (portal_id, int(self.clock.now()) // DAY)


def burst_reached(group: str) -> ApiError:
    return error(
        429,
        "You have reached your ten_secondly_rolling limit.",
        errorType="RATE_LIMIT",
        policyName="TEN_SECONDLY_ROLLING",
        groupName=f"publicapi:private-apps-api-calls-ten-secondly:{group.partition(':')[0]}",
    )


def daily_reached() -> ApiError:
    return error(429, "You have reached your daily limit.", errorType="RATE_LIMIT", policyName="DAILY")


def search_reached() -> ApiError:
    """Search has its own family: a category, and neither errorType nor policyName."""
    return error(429, "You have reached your secondly limit.", "RATE_LIMITS")
