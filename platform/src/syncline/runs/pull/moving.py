"""How far the pulls of a sync came, in sentences, and moved by a person."""

from __future__ import annotations

import datetime as dt

from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from syncline.contract import ConfigError
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

from . import window

PERMISSION = "syncline.move_checkpoint"


def told(sync: Sync) -> str:
    """What has arrived, what is going on, and what the next pull begins with."""
    mark = window.of(sync)
    if mark is None or (mark.seen_until is None and mark.window_until is None):
        return "Nothing was pulled yet; the next pull lists everything."
    arrived = f"Everything that changed there before {_shown(mark.seen_until)} has arrived." if mark.seen_until else ""
    return " ".join(filter(None, (arrived, _open(mark)))) or "Nothing was pulled yet."


def _open(mark: Checkpoint) -> str:
    if mark.window_until is None:
        return ""
    going = mark.run_id is not None and Run.objects.filter(pk=mark.run_id, state__in=Run.ACTIVE).exists()
    what = "listing of everything" if mark.whole else "pull of what changed"
    if going:
        return f"A {what} is going on in run {mark.run_id}, begun at {_shown(mark.window_until)}."
    then = "begins it anew" if mark.whole else "goes on with it"
    return f"A {what}, begun at {_shown(mark.window_until)}, was broken off; the next run {then}."


def move(sync: Sync, moment: dt.datetime | None) -> str:
    """The next pull asks for what changed from `moment` on or, for None, lists everything. ConfigError while a run is active."""
    if sync.direction == Direction.PUSH:
        raise ConfigError(f"{sync.name} only pushes, so that it has no position. Choose a sync that pulls.")
    with transaction.atomic():
        window.set_position(sync, moment)
    if moment is None:
        return "The next pull lists everything."
    return f"The next pull asks for what changed there since {_shown(moment)}."


def moment(text: str) -> dt.datetime:
    """As `2026-11-26`, or `2026-11-26 17:30`; UTC unless it names another zone. ConfigError when it is none."""
    try:
        day = parse_date(text.strip())
        found = dt.datetime.combine(day, dt.time()) if day else parse_datetime(text.strip())
    except ValueError:
        found = None
    if found is None:
        raise ConfigError(f"{text!r} is no moment. Write it as 2026-11-26 or 2026-11-26 17:30 (UTC).")
    return timezone.make_aware(found, dt.UTC) if timezone.is_naive(found) else found


def _shown(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%-d %b %Y %H:%M:%S} UTC"
