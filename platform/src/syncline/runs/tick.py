"""Every few seconds: start what is due, bury what is hopeless, close what has ended, ring where work waits."""

from __future__ import annotations

import datetime as dt
import logging

from croniter import CroniterError, croniter
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from syncline import background
from syncline.connections import budget_overview
from syncline.contract import SynclineError
from syncline.syncs.models import Sync

from . import at_once, changes, claims, follow, inbox, queue
from .close import close_run
from .execute import work
from .models import Run, RunPart
from .plan import store
from .queue import QUEUE
from .start import AlreadyRunning, start_run

TICK = queue.TICK
TICK_SECONDS = 10.0

log = logging.getLogger("syncline.runs")


def install() -> None:
    """Called once in every process that may work."""
    background.on(QUEUE, work)
    background.on(TICK, _answer)
    background.every(TICK_SECONDS, TICK)
    background.look_out(at_once.EVERY, at_once.look)
    inbox.install()


def _answer(_seconds: float) -> bool:
    tick()
    return False


def tick() -> None:
    """Each step by itself: what cannot be started, or read, keeps no run from being closed and nobody from being woken."""
    for step in (
        start_due,
        follow.start_marked,
        changes.tick,
        at_once.look,
        inbox.tick,
        _close_ended,
        _ring_if_claimable,
        budget_overview.tidy,
        store.forget_old,
    ):
        try:
            step()
        except (OperationalError, InterfaceError):
            raise  # the database is away: all of it is tried again at the next tick
        except Exception:
            log.exception("The step %s of the tick failed; the others go on.", step.__name__)


def _close_ended() -> None:
    for run_id in claims.bury():
        close_run(run_id)
    for run_id in _ended():
        close_run(run_id)


def _ring_if_claimable() -> None:
    if _claimable():
        background.ring(QUEUE)


def next_due(cron: str, after: dt.datetime) -> dt.datetime:
    found: dt.datetime = croniter(cron, after).get_next(dt.datetime)
    return found


def start_due() -> int:
    """Starts the syncs whose time has come; a missed time is made up for once, not once for each."""
    started = 0
    for sync_id in list(_due()):
        started += _start_one(sync_id)
    return started


def _due() -> list[int]:
    now = timezone.now()
    fresh = Sync.objects.filter(enabled=True, next_due_at__isnull=True).exclude(cron="")
    for sync in fresh:
        if due := _next_due(sync, now):
            Sync.objects.filter(pk=sync.pk, next_due_at__isnull=True).update(next_due_at=due)
    return list(Sync.objects.filter(enabled=True, next_due_at__lte=now).exclude(cron="").values_list("pk", flat=True))


def _next_due(sync: Sync, after: dt.datetime) -> dt.datetime | None:
    """None when its schedule cannot be read; the others go on."""
    try:
        return next_due(sync.cron, after)
    except CroniterError:
        log.warning("The sync %s has the schedule %r, which cannot be read. Correct it, e.g. 0 3 * * *.", sync.pk, sync.cron)
        return None


def _start_one(sync_id: int) -> int:
    with transaction.atomic():
        sync = (
            Sync.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("connection__owner", "current")
            .filter(pk=sync_id, next_due_at__lte=timezone.now())
            .first()
        )
        if sync is None:
            return 0
        Sync.objects.filter(pk=sync_id).update(next_due_at=_next_due(sync, timezone.now()))
    try:
        start_run(sync, trigger="schedule")
    except AlreadyRunning:
        log.info("The sync %s is due, but still running; it starts at its next time.", sync_id)
        return 0
    except SynclineError as error:
        log.warning("The sync %s is due, but cannot start: %s", sync_id, error)
        Sync.objects.filter(pk=sync_id).update(blocked_reason=str(error))
        return 0
    return 1


def _ended() -> list[int]:
    going = RunPart.objects.filter(state__in=(RunPart.State.QUEUED, RunPart.State.LEASED)).values("run")
    return list(Run.objects.filter(state__in=Run.ACTIVE).exclude(pk__in=going).values_list("pk", flat=True))


def _claimable() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id AND r.state <> 'paused'"
            " WHERE p.kind NOT IN ('relay', 'stream')"
            " AND (p.state = 'queued' AND p.not_before <= now() OR p.state = 'leased' AND p.lease_until < now()))"
        )
        return bool(cursor.fetchone()[0])
