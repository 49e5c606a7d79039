"""What has become of a connection's call allowances: for the page that shows them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import DateTimeField, ExpressionWrapper, Func, QuerySet

from syncline.contract import Limit
from syncline.contract.connector import COUNTED_FROM

from . import budget_scope, effective
from .budget import Lane
from .budget_models import Budget, BudgetUse
from .models import Connection

DAYS: Final = 7
KEEP: Final = dt.timedelta(days=366)
URGENCY: Final = (Lane.INTERACTIVE, Lane.CHANGE, Lane.SCHEDULED, Lane.BACKFILL)


@dataclass(frozen=True, slots=True)
class Use:
    """Calls of one lane on one day, or of several together. `waited`: seconds on average."""

    calls: int = 0
    refused: int = 0
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Day:
    day: dt.date
    total: Use
    lanes: tuple[tuple[Lane, Use], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One limit. `row` is None before the first call. `paused_s`, `ahead_s`: how long from now; `now`: the database's clock."""

    limit: Limit
    row: Budget | None
    now: dt.datetime | None
    days: tuple[Day, ...]

    @property
    def counted(self) -> bool:
        return self.limit.window >= COUNTED_FROM

    @property
    def size(self) -> int:
        return (self.row.learnt_size or self.row.size) if self.row else self.limit.size

    @property
    def today(self) -> Day:
        return self.days[0]

    @property
    def paused(self) -> bool:
        return bool(self.row and self.row.paused_until and self.now and self.row.paused_until > self.now)

    @property
    def used_up(self) -> bool:
        return bool(self.counted and self.row and self.row.remaining == 0)

    @property
    def ahead(self) -> float:
        """Seconds for which calls are reserved already."""
        if self.counted or not self.row or not self.now:
            return 0.0
        return max(0.0, (self.row.arrival - self.now).total_seconds())

    @property
    def most(self) -> int:
        """Calls of the busiest day shown: the length of the longest bar."""
        return max((day.total.calls for day in self.days), default=0)


def overview(connection: Connection) -> list[Shown]:
    """One entry for each limit its connector declares, in its order. ConfigError when there is no connector."""
    info = effective.connector_of(connection).info
    scopes = budget_scope.scopes(connection, info)
    rows = {row.scope: row for row in _now(Budget.objects.filter(scope__in=scopes.values()))}
    today = next((row.now.date() for row in rows.values()), dt.datetime.now(dt.UTC).date())
    since = today - dt.timedelta(days=DAYS - 1)
    use = list(BudgetUse.objects.filter(budget__in=rows.values(), day__gte=since))
    return [_shown(limit, rows.get(scopes[limit.name]), use, today) for limit in info.limits]


_forgotten_at = float("-inf")


def tidy() -> None:
    """Called often; forgets what is old once an hour in each process."""
    global _forgotten_at  # noqa: PLW0603
    if time.monotonic() > _forgotten_at + 3600:
        _forgotten_at = time.monotonic()
        forget_old_use()


def forget_old_use() -> int:
    """Deletes what is older than a year; gives how many rows."""
    return int(BudgetUse.objects.filter(day__lt=dt.datetime.now(dt.UTC).date() - KEEP).delete()[0])


def _now(rows: QuerySet[Budget]) -> QuerySet[Any]:
    clock = Func(function="clock_timestamp", output_field=DateTimeField())
    return rows.annotate(now=ExpressionWrapper(clock, output_field=DateTimeField()))


def _shown(limit: Limit, row: Any, use: Sequence[BudgetUse], today: dt.date) -> Shown:
    mine = [one for one in use if row is not None and one.budget_id == row.pk]
    days = [today - dt.timedelta(days=back) for back in range(DAYS)]
    return Shown(limit, row, row.now if row else None, tuple(_day(day, [u for u in mine if u.day == day]) for day in days))


def _day(day: dt.date, use: Sequence[BudgetUse]) -> Day:
    lanes = tuple((lane, _sum(one for one in use if one.lane == lane)) for lane in URGENCY)
    return Day(day, _sum(use), lanes)


def _sum(use: Iterable[BudgetUse]) -> Use:
    found = list(use)
    calls = sum(one.calls for one in found)
    waited = sum(one.waited for one in found)
    return Use(calls, sum(one.refused for one in found), waited / calls if calls else 0.0)
