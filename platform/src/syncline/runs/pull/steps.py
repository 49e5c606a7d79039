"""The parts of a pull: pages of the account, records by their ids, and what is not there any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline import background
from syncline.contract import Page
from syncline.ledger import pull_writer, writer
from syncline.ledger.models import ErrorGroup, IndexState, Link
from syncline.runs import claims, crash
from syncline.runs.job import Job
from syncline.runs.models import Run, RunPart
from syncline.runs.push import index_rows
from syncline.runs.push.definitions import note_suspended
from syncline.runs.queue import QUEUE

from . import arriving, asking, ground, missing, pages, window
from .ground import Ground
from .pages import Lot
from .window import Window

FETCHED = 500
"""Records that are fetched and stored together."""

Told = Callable[[CursorWrapper, Sequence[str]], None]
"""Is given each lot of ids in the transaction that stored what became of them."""


def pull_pages(job: Job) -> None:
    """Ends with the part done, or given back where it stands."""
    note_suspended(job.run.pk, job.mapping)
    with transaction.atomic(), connection.cursor() as cursor:
        writer.hold(cursor, job.claim.fence)
        now = window.opened(job.run, job.object_type)
    opened = ground.opened(job, whole=now.whole)
    if opened.finder.staging and not now.archived and not now.ended:
        opened.finder.staging.begin()
    while True:
        if not now.ended and not _read(opened, now):
            claims.release(job.claim.fence)
            return
        if now.archived or now.whole or not job.object_type.pull_archived:
            break
        now = now.then()
    _finish(opened, now)


def _read(opened: Ground, now: Window) -> bool:
    """False when it was told to stop first."""
    job = opened.job
    asked = now.request(opened.flow)
    listing: Iterator[Page] = iter(job.connector.call.pull(session=job.session, object_type=job.object_type, request=asked))
    try:
        with pages.ahead(pages.watched(listing, asked.position), opened.flow.glances.ahead) as lots:
            for lot in lots:
                _store(opened, now, lot)
                if job.interrupted() and lot.position is not None:
                    return False
    except pages.Astray:
        _restart(now)
        raise
    return True


def _store(opened: Ground, now: Window, lot: Lot) -> None:
    def also(cursor: CursorWrapper) -> None:
        if now.whole:
            pull_writer.list_ids(cursor, opened.flow.run_id, [r.id for r in lot.records])
        window.moved(cursor, now, lot.position)

    records = [replace(r, archived=True) for r in lot.records] if now.archived else lot.records
    lag = opened.job.object_type.visibility_lag if now.since else 0.0
    arriving.land(opened, records, also, age=_since(lot.asked), lag=lag, nameless=lot.nameless)


def _restart(now: Window) -> None:
    """A listing that went astray is begun anew by the next run."""
    with connection.cursor() as cursor:
        window.moved(cursor, replace(now, archived=False), "")


def _finish(opened: Ground, now: Window) -> None:
    """What waited for the listing may begin; after a whole one, what is linked and was not in it comes last.

    What another run had begun goes up to its own beginning: what changed since is pulled next.
    """
    job, scope = opened.job, opened.flow.scope
    crash.point("pull.end")
    if now.whole and opened.spec.steps:
        index_rows.forget(scope, "seen_at < %s AND property = ANY(%s)", now.until, opened.spec.names)
    with transaction.atomic(), connection.cursor() as cursor:
        Run.objects.select_for_update(no_key=True).get(pk=job.run.pk)
        window.closed(cursor, now)
        if now.until < job.run.created_at:
            RunPart.objects.create(run=job.run, kind=RunPart.Kind.PULL, priority=job.part.priority)
        else:
            waiting = job.run.parts.filter(state=RunPart.State.BLOCKED)
            waiting.filter(kind__in=(RunPart.Kind.FETCH, RunPart.Kind.PREPARE)).update(state=RunPart.State.QUEUED)
        if now.whole:
            RunPart.objects.create(run=job.run, kind=RunPart.Kind.MISSING, priority=job.part.priority)
            _keep_index(opened, now)
        if not claims.finish(job.claim.fence):
            raise writer.FenceLost
        background.ring(QUEUE)


def _keep_index(opened: Ground, now: Window) -> None:
    """A whole listing is one of the identity index as well."""
    if opened.spec.steps:
        scope = opened.flow.scope
        fresh = {"indexed": opened.spec.to_json(), "listed_at": now.until, "seen_until": now.until}
        IndexState.objects.update_or_create(connection_id=scope.connection_id, object_type=scope.object_type, defaults=fresh)


def fetch_records(job: Job, *, approved: bool = False, told: Told = lambda _cursor, _ids: None) -> None:
    """Records by their ids: those an event told of, those put off, those somebody asked for.

    `approved`: a person lets what is not there any more be deleted here.
    """
    opened = ground.opened(job)
    if opened.finder.staging:
        opened.finder.staging.begin()
    left = job.part.keys[int(job.part.cursor or 0) :]
    done = len(job.part.keys) - len(left)
    for found in asking.asked(opened, pages.batched(left, FETCHED)):
        done += len(found.ids)
        arriving.land(
            opened,
            found.records,
            _moved_to(job, done, found.ids, told),
            age=_since(found.at),
            counted=not job.part.round,
            approved=approved,
            refused=found.refused,
        )
        if job.interrupted() and done < len(job.part.keys):
            claims.release(job.claim.fence)
            return
    claims.finish(job.claim.fence)


def _since(asked: float) -> Callable[[], float]:
    return lambda: time.monotonic() - asked


def _moved_to(job: Job, position: int, ids: Sequence[str], told: Told) -> arriving.Also:
    def also(cursor: CursorWrapper) -> None:
        told(cursor, ids)
        cursor.execute("UPDATE syncline_runpart SET cursor = %s WHERE id = %s", [str(position), job.part.pk])

    return also


def look_for_missing(job: Job) -> None:
    """After a whole listing: what is linked and was not in it is asked for by its id before it counts as gone."""
    opened = ground.opened(job)
    if reason := missing.empty_listing(job):
        _say_empty(job, reason)
    else:
        for found in asking.asked(opened, missing.ids(job)):
            arriving.land(opened, found.records, age=_since(found.at), counted=False, refused=found.refused)
            if job.interrupted():
                claims.release(job.claim.fence)
                return
    claims.finish(job.claim.fence)


def _say_empty(job: Job, reason: str) -> None:
    told = ErrorGroup(
        run_id=job.run.pk,
        cause="empty listing",
        state=Link.State.PENDING,
        code="empty_listing",
        message=reason,
        count=1,
    )
    ErrorGroup.objects.bulk_create([told], ignore_conflicts=True)
