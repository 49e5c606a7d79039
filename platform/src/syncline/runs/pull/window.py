"""What a pull asks for, and how far the pulls of a sync came: kept in the sync's checkpoint."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import ConfigError, ObjectType, PullRequest
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run
from syncline.syncs.models import Sync

from .work import Inflow

CLOCKS_APART = 60.0
"""Seconds by which the system's clock and ours may differ, together with what else comes late."""


ENDED: Final = "(ended)"
"""In the place of a position: the last page is stored, and what comes after it may not have happened yet."""


@dataclass(frozen=True, slots=True)
class Window:
    """One pull: everything (`since` None), or what changed from `since` on. `until`: the moment it was begun.

    `archived`: the second half of it, about archived records. `position`: where it stands, "" at its beginning.
    """

    checkpoint: int
    since: dt.datetime | None
    until: dt.datetime
    position: str = ""
    archived: bool = False

    @property
    def ended(self) -> bool:
        return self.position == ENDED

    @property
    def whole(self) -> bool:
        return self.since is None

    def request(self, flow: Inflow) -> PullRequest:
        return PullRequest(
            properties=flow.inbound.properties,
            position=self.position or None,
            since=self.since,
            until=self.until if self.since else None,
            archived=self.archived,
            associations=() if self.archived else flow.referred,
            history=() if self.archived else flow.history,
        )

    def then(self) -> Window:
        """Its second half."""
        return replace(self, position="", archived=True)


def opened(run: Run, object_type: ObjectType) -> Window:
    """The pull that this run carries out: begun now, or one that was broken off."""
    with transaction.atomic():
        Checkpoint.objects.get_or_create(sync_id=run.sync_id, partition="")
        mine = Checkpoint.objects.select_for_update().get(sync_id=run.sync_id, partition="")
        if _goes_on(mine, run):
            mine.run_id = run.pk
        else:
            mine.whole = run.kind in WHOLE or mine.seen_until is None or not object_type.pull_since
            mine.window_until, mine.position, mine.archived, mine.run_id = now(), "", False, run.pk
        mine.save()
    late = dt.timedelta(seconds=object_type.visibility_lag + CLOCKS_APART)
    since = None if mine.whole or mine.seen_until is None else mine.seen_until - late
    return Window(mine.pk, since, mine.window_until or now(), mine.position, mine.archived)


WHOLE = (Run.Kind.FULL,)


def _goes_on(mine: Checkpoint, run: Run) -> bool:
    """A listing belongs to the run that has seen its first pages; what changed may be read on by another."""
    if mine.window_until is None:
        return False
    return mine.run_id == run.pk or not (mine.whole or run.kind in WHOLE)


def moved(cursor: CursorWrapper, window: Window, position: str | None) -> None:
    """In the transaction that stores the records before it; None after the last page."""
    cursor.execute(
        "UPDATE syncline_checkpoint SET position = %s, archived = %s, at = now() WHERE id = %s",
        [ENDED if position is None else position, window.archived, window.checkpoint],
    )


def closed(cursor: CursorWrapper, window: Window) -> None:
    """Everything that changed before it was begun has arrived."""
    cursor.execute(
        "UPDATE syncline_checkpoint SET seen_until = window_until, window_until = NULL, position = '', archived = false,"
        " whole = false, run_id = NULL, at = now() WHERE id = %s",
        [window.checkpoint],
    )


def now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: dt.datetime = cursor.fetchone()[0]
    return found


def of(sync: Sync) -> Checkpoint | None:
    return Checkpoint.objects.filter(sync=sync, partition="").first()


def set_position(sync: Sync, moment: dt.datetime | None) -> None:
    """From which moment on the next pull asks for changes; None: it lists everything. ConfigError while a run is active."""
    with transaction.atomic():
        if Run.objects.select_for_update().filter(sync=sync, state__in=Run.ACTIVE).exists():
            raise ConfigError(f"A run of {sync.name} is active. Cancel it or let it end, then set the position.")
        if moment is not None and moment > now():
            raise ConfigError(f"{moment.isoformat()} is still to come: what changes until then would never arrive.")
        fresh = {"seen_until": moment, "window_until": None, "position": "", "whole": False, "archived": False, "run_id": None}
        Checkpoint.objects.update_or_create(sync=sync, partition="", defaults=fresh)
