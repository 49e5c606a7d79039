"""Sees to it that every continuous sync has its run, with a part for each partition or shard, and rolls runs over.

Any process may do it; one at a time does.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final

from django.db import connection, transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q
from django.db.models.functions import Now

from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange
from syncline.connections.sessions import open_session
from syncline.contract import ConfigError, Retryable, SynclineError
from syncline.registry import connector, dataset
from syncline.runs.close import close_run
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import parts, undone
from syncline.runs.start import AlreadyRunning, check, created
from syncline.syncs.models import Sync

from .follow import FOLLOWED
from .queueing import SHARDS

EVERY: Final = 2.0
SLOW: Final = 1.0
ROLLED_AFTER: Final = dt.timedelta(days=1)
REMEMBERED: Final = dt.timedelta(hours=1)
"""For so long a failed run makes the pause before the next one longer."""
FIRST_PAUSE: Final = dt.timedelta(seconds=5)
LONGEST_PAUSE: Final = dt.timedelta(minutes=10)
MOST_COUNTED: Final = 10
_LOCK: Final = 1_229_866_841  # of this purpose among the advisory locks of the database

log = logging.getLogger("syncline.runs")


class Keeper:
    """Remembers when partitions were last asked for: that is a call to the system."""

    def __init__(self, every: float = 60.0) -> None:
        self._every, self._asked, self._slow = every, dict[int, float](), dict[int, float]()

    def look(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return
            try:
                self._look()
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    def _look(self) -> None:
        for run in _outlived():
            end(run)
        wanted = Sync.objects.filter(continuous=True, enabled=True, current__isnull=False)
        for sync in self._turns(wanted.select_related("connection__owner", "source__owner", "current").order_by("pk")):
            self._attempt(sync)

    def _turns(self, syncs: Iterable[Sync]) -> list[Sync]:
        """Those for which nobody had to wait, and one of the others: a system that does not answer keeps only its own."""
        found = sorted(syncs, key=lambda sync: self._slow.get(sync.pk, 0.0))
        quick = [one for one in found if one.pk not in self._slow]
        return [*quick, *found[len(quick) :][:1]]

    def _attempt(self, sync: Sync) -> None:
        begun = time.monotonic()
        self._carry(sync)
        self._slow.pop(sync.pk, None)
        if (now := time.monotonic()) - begun > SLOW:
            self._slow[sync.pk] = now

    def _carry(self, sync: Sync) -> None:
        try:
            self._keep(sync)
            _note(sync, None)
        except AlreadyRunning:
            return  # an ordinary run, from before it was continuous: it ends by itself
        except SynclineError as error:
            _note(sync, str(error))
        except Exception as error:
            log.exception("The sync %s cannot be kept going.", sync.pk)
            _note(sync, f"Unexpected {type(error).__name__}; see the log of the stream processes.")

    def _keep(self, sync: Sync) -> None:
        run = Run.objects.filter(sync=sync, kind=Run.Kind.STREAM, state__in=Run.ACTIVE).first()
        try:
            check(sync, None)
        except ConfigError:
            if run is not None and run.state != Run.State.PAUSED:
                end(run)  # what it may not do any more it does not go on doing
            raise
        if run is not None and time.monotonic() - self._asked.get(sync.pk, -self._every) < self._every:
            return
        if run is None:
            _rest(sync)
        wanted = _parts(sync)
        self._asked[sync.pk] = time.monotonic()
        if run is None:
            with created(sync, kind=Run.Kind.STREAM, trigger="stream", requested_by=None) as run:
                _add(run, wanted)
                parts.add_ids(run, parts.unplaced(run), RunPart.Priority.BACKFILL)
        else:
            _complete(run, wanted)


def _rest(sync: Sync) -> None:
    """Runs that fail one after the other are begun anew after pauses that grow; raises Retryable during one. Another mapping
    is begun at once."""
    ended = Run.objects.filter(sync=sync, kind=Run.Kind.STREAM, version_id=sync.current_id, finished_at__gt=Now() - REMEMBERED)
    passed = ExpressionWrapper(Now() - F("finished_at"), DurationField())
    told = ended.order_by("-pk").values_list("state", "reason", "finished_at", passed)[:MOST_COUNTED]
    failed = list(takewhile(lambda one: one[0] == Run.State.FAILED, told))
    if not failed:
        return
    _, reason, at, since = failed[0]
    pause = min(FIRST_PAUSE * 2 ** (len(failed) - 1), LONGEST_PAUSE)
    if since < pause:
        raise Retryable(f"{reason} It begins again by itself at {at + pause:%H:%M:%S} UTC.")


def _note(sync: Sync, reason: str | None) -> None:
    """Why it cannot go on; None once it can."""
    Sync.objects.filter(pk=sync.pk).exclude(blocked_reason=reason).update(blocked_reason=reason)


def _outlived() -> Sequence[Run]:
    """Active runs that others are to take the place of, or none: of yesterday, of an earlier mapping, of definitions that have
    changed there since, of what is switched off.

    One that a person paused stays paused: another would begin by itself.
    """
    active = Run.objects.filter(kind=Run.Kind.STREAM, state__in=Run.ACTIVE).select_related("sync__connection")
    aged = Q(created_at__lt=Now() - ROLLED_AFTER) | ~Q(version_id=F("sync__current_id")) | Q(Exists(_CHANGED_THERE))
    old = aged & ~Q(state=Run.State.PAUSED)
    off = Q(sync__enabled=False) | Q(sync__continuous=False) | Q(sync__connection__owner__is_active=False)
    return list(active.filter(old | off))


_MOMENT: Final = OuterRef("created_at")
# What was added there is not mapped yet.
_CHANGED_THERE: Final = CatalogChange.objects.filter(
    Q(noticed_at__gt=_MOMENT) | Q(settled_at__gt=_MOMENT),
    connection=OuterRef("sync__connection"),
    object_type=OuterRef("sync__object_type"),
).exclude(aspect=CatalogChange.Aspect.ADDED)


def end(run: Run) -> None:
    """Its parts are done as far as they came; whoever has one of them notices at the next message.

    What records it was still to fetch, the next one does.
    """
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        undone.hand_on(run)
        run.parts.filter(kind=RunPart.Kind.RELAY, state=RunPart.State.LEASED).update(state=RunPart.State.DONE)
        run.parts.filter(state__in=RunPart.OPEN).update(state=RunPart.State.DONE, lease_until=None)
    close_run(run.pk)


def _parts(sync: Sync) -> list[tuple[str, str]]:
    """Kind and partition of each part that the sync needs."""
    if dataset(sync.dataset).info.log:
        return [(RunPart.Kind.RELAY, str(shard)) for shard in range(SHARDS)]
    found = catalog.object_type(sync.connection, sync.object_type)
    if not found.log:
        return [(RunPart.Kind.STREAM, FOLLOWED)]
    hooks = connector(sync.connection.connector)
    if "partitions" not in hooks.implements:
        return [(RunPart.Kind.STREAM, "")]
    names = hooks.call.partitions(session=open_session(sync.connection), object_type=found)
    return [(RunPart.Kind.STREAM, name) for name in names]


def _add(run: Run, wanted: Sequence[tuple[str, str]]) -> None:
    priority = RunPart.Priority.CHANGE
    RunPart.objects.bulk_create([RunPart(run=run, kind=k, partition=name, priority=priority) for k, name in wanted])


def _complete(run: Run, wanted: Sequence[tuple[str, str]]) -> None:
    """Partitions that were added there since."""
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        there = set(run.parts.filter(kind__in=RunPart.CONTINUOUS).values_list("kind", "partition"))
        _add(run, [one for one in wanted if one not in there])
