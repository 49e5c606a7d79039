"""The call allowances of accounts, shared by every process of every machine through one row each.

A caller reserves the moment of its call and sleeps until then. Its lane says how far ahead it may reserve, so that who
may look far ahead finds only a short queue of those who may not. Whoever finds the queue too long sleeps a little and asks
again; whoever would have to wait long gets RateLimited, has reserved nothing, and can give its worker to others.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg

from syncline.contract import ConnectorFault, Limit, RateLimited, Retryable
from syncline.contract.connector import COUNTED_FROM

from . import budget_sql as sql
from .own_connections import OwnConnections

COME_BACK = 0.05, 0.15
"""Those who were refused ask again within so many seconds after there is room: who waited long is sooner."""
PLAUSIBLE = 10
"""Headers that say so many times more, or less, than the connector declares are not believed."""
OBSERVE_EVERY = 2.0


class Lane(StrEnum):
    BACKFILL = "backfill"
    SCHEDULED = "scheduled"
    CHANGE = "change"
    INTERACTIVE = "interactive"


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one lane. `ahead`: seconds it may reserve ahead. `reserve`: the share of a day's allowance it leaves to others.

    `long`: it waits for no pause that lasts longer. `patience`: seconds until it gives up asking.
    """

    ahead: float
    reserve: float
    long: float
    patience: float


TERMS: Final[Mapping[Lane, Terms]] = {
    Lane.BACKFILL: Terms(0.25, 0.05, 12.0, 60.0),
    Lane.SCHEDULED: Terms(0.25, 0.05, 12.0, 60.0),
    Lane.CHANGE: Terms(1.0, 0.01, 12.0, 60.0),
    Lane.INTERACTIVE: Terms(5.0, 0.0, 5.0, 15.0),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wait`: seconds until the call may leave, whether they were granted or not; `limit`: the one that makes it wait."""

    granted: bool
    wait: float
    found: int
    limit: str
    paused: bool


class PostgresBudget:
    """The contract's Budget for one connection; used from several threads."""

    def __init__(
        self,
        connector: str,
        account: str,
        limits: Sequence[Limit],
        scopes: Mapping[str, str],
        lane: Lane = Lane.BACKFILL,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connector, self._account, self._scopes, self.lane = connector, account, scopes, lane
        self._limits = {limit.name: limit for limit in limits}
        self._terms, self._sleep = TERMS[lane], sleep
        self._doors = OwnConnections()
        self._patterns = {limit.name: _patterns(limit) for limit in limits}
        self._told: dict[str, tuple[int | None, float]] = {}

    def __repr__(self) -> str:
        return f"PostgresBudget({self._connector}, {self.lane})"

    def acquire(self, limit: str) -> None:
        """Returns when the call may leave. RateLimited: not within the lane's patience; Retryable: the database is not there."""
        started = time.monotonic()
        while True:
            verdict = self.reserve(limit, waited=time.monotonic() - started)
            if verdict.granted:
                if self._slept_through(limit, verdict.wait):
                    return
                continue
            self._raise_if_long(verdict, time.monotonic() - started)
            self._sleep(_until_next_try(verdict.wait - self._terms.ahead, time.monotonic() - started))

    def reserve(self, limit: str, *, waited: float = 0.0, at: Any = None) -> Verdict:
        """Asks once. `at`: instead of the database's clock, for tests."""
        names = self._covering(limit)
        given = {
            "scopes": [self._scopes[name] for name in names],
            "count": len(names),
            "ahead": self._terms.ahead,
            "reserve": self._terms.reserve,
            "lane": str(self.lane),
            "waited": waited,
            "at": at,
        }
        verdict = Verdict(*self._one(sql.ACQUIRE, given))
        if verdict.found == len(names):
            return verdict
        for name in names:
            self.ensure(name)
        return Verdict(*self._one(sql.ACQUIRE, given))

    def ensure(self, name: str) -> None:
        """The row of a limit, as large as the connector says now."""
        limit = self._limits[name]
        counted = limit.window >= COUNTED_FROM
        given = {
            "scope": self._scopes[name],
            "connector": self._connector,
            "limit": name,
            "account": self._account,
            "window": limit.window,
            "size": limit.size,
            "remaining": limit.size if counted and not limit.headers else None,
            "ahead": limit.window if counted else 0.0,
        }
        self._do(sql.ENSURE, given)

    def pause(self, limit: str, seconds: float) -> None:
        name = self._name(limit)
        self._do(sql.PAUSE, {"scope": self._scopes[name], "seconds": seconds, "lane": str(self.lane)})

    def observe(self, limit: str, headers: Mapping[str, str]) -> None:
        for name in self._covering(limit):
            if self._patterns[name]:
                self._learn(self._limits[name], _read(self._patterns[name], headers))

    def _learn(self, limit: Limit, told: Mapping[str, int]) -> None:
        size = told.get("size")
        size = size if size and limit.size <= size * PLAUSIBLE and size <= limit.size * PLAUSIBLE else None
        left = _remaining(told, size or limit.size)
        slower = _slower(left, size or limit.size) if limit.window < COUNTED_FROM else 0.0
        before, at = self._told.get(limit.name, (None, 0.0))
        if (size is None and left is None) or (size == before and not slower and time.monotonic() < at + OBSERVE_EVERY):
            return
        self._told[limit.name] = (size, time.monotonic())
        given = {"scope": self._scopes[limit.name], "size": size, "remaining": left, "slower": slower}
        self._do(sql.OBSERVE, given)

    def _slept_through(self, limit: str, wait: float) -> bool:
        """False when the vendor called a halt meanwhile: the reservation is lost."""
        if wait <= 0.0:
            return True
        self._sleep(wait)
        paused = self._one(sql.PAUSED, {"scopes": [self._scopes[name] for name in self._covering(limit)]})[0]
        return not paused

    def _raise_if_long(self, verdict: Verdict, waited: float) -> None:
        if verdict.wait <= self._terms.long + self._terms.ahead and waited <= self._terms.patience:
            return
        limit = self._limits[verdict.limit]
        cause = "The system asked us to pause" if verdict.paused else "The allowance is used up"
        told = f"{cause} ({limit.name}: {limit.covers}); nothing was carried out. It goes on in about {_span(verdict.wait)}."
        raise RateLimited(told, max(verdict.wait, 1.0), limit.name)

    def _covering(self, limit: str) -> list[str]:
        named = self._name(limit)
        return [one.name for one in self._limits.values() if one.name == named or one.every_call]

    def _name(self, limit: str) -> str:
        if limit and limit not in self._limits:
            raise ConnectorFault(f"{self._connector} counts a call against the limit {limit!r}, which it does not declare.")
        return limit or next((one.name for one in self._limits.values() if not one.every_call), next(iter(self._limits)))

    def _one(self, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...]:
        rows = self._do(statement, given)
        return rows[0]

    def _do(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            return self._done(statement, given)
        except psycopg.OperationalError:
            OwnConnections.close_idle()  # the server was started anew, say: the others will be broken as well
        try:
            return self._done(statement, given)
        except psycopg.OperationalError as error:
            raise Retryable(f"The call allowance could not be asked for ({type(error).__name__}); nothing was sent.") from error

    def _done(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._doors.one() as own:
            cursor = own.execute(statement, given)
            return cursor.fetchall() if cursor.description else []


def _until_next_try(late: float, waited: float) -> float:
    """Everybody at another moment, but those who have waited longest are likelier to be first."""
    soon, later = COME_BACK
    return min(max(late, 0.0), 1.0) + random.uniform(0.0, max(soon, later / (1.0 + 2.0 * waited)))  # noqa: S311 - no secret


def _patterns(limit: Limit) -> dict[str, re.Pattern[str]]:
    """Header in lower case → pattern with the numbers it tells as groups."""
    return {
        header.lower(): re.compile(re.sub(r"\\\{(size|remaining|used)\\\}", r"(?P<\1>\\d+)", re.escape(pattern)))
        for header, pattern in limit.headers.items()
    }


def _read(patterns: Mapping[str, re.Pattern[str]], headers: Mapping[str, str]) -> dict[str, int]:
    told: dict[str, int] = {}
    for header, value in headers.items():
        pattern = patterns.get(header.lower())
        if pattern and (found := pattern.search(value)):
            told |= {name: int(number) for name, number in found.groupdict().items() if len(number) < 10}
    return told


def _remaining(told: Mapping[str, int], size: int) -> int | None:
    """None when it was not told, or cannot be."""
    left = told.get("remaining", size - told["used"] if "used" in told else None)
    return left if left is not None and 0 <= left <= size else None


def _slower(left: int | None, size: int) -> float:
    """Share of the window by which everybody steps back when next to nothing is left."""
    if left is None or size < 20 or left >= size * 0.01:
        return 0.0
    return 0.02 if left else 0.1


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(seconds, 1):.0f} seconds"
