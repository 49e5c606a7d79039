"""When a sync is due: reading cron expressions."""

from __future__ import annotations

import datetime as dt

from croniter import croniter
from django.utils import timezone

from syncline.syncs.models import Sync

FIELDS = 5


def complaint(cron: str) -> str:
    """Why this is no schedule, "" when it is one (or none at all)."""
    if not cron.strip():
        return ""
    if len(cron.split()) != FIELDS:
        return f"A schedule has {FIELDS} parts: minute, hour, day, month, weekday. “0 3 * * *” means every day at 03:00 UTC."
    if not croniter.is_valid(cron):
        return f"“{cron}” is not a schedule. “0 3 * * *” means every day at 03:00 UTC, “*/15 * * * *” every 15 minutes."
    if not next_times(cron, 1):
        return f"“{cron}” names a day that never comes. Choose another."
    return ""


def next_times(cron: str, count: int = 3, after: dt.datetime | None = None) -> list[dt.datetime]:
    """The next times in UTC; none for an empty schedule."""
    if not cron.strip():
        return []
    times = croniter(cron, after or timezone.now())
    try:
        return [times.get_next(dt.datetime) for _ in range(count)]
    except ValueError:  # croniter's CroniterBadDateError: no such day for years
        return []


def reschedule(sync: Sync) -> None:
    """Sets the next due times after a schedule or the switch was changed; the caller saves.

    What stood in the way of the old schedule is forgotten with it.
    """
    following = next_times(sync.cron, 1) if sync.enabled else []
    sync.next_due_at = following[0] if following else None
    changes = next_times(sync.changes_cron, 1) if sync.enabled else []
    sync.next_changes_at = changes[0] if changes else None
    sync.blocked_reason = None
