"""Carries out one claimed continuous part, and turns whatever goes wrong into a pause and a sentence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from django.db import connection, connections
from django.db.models.functions import Now

from syncline.connections.tokens import mark
from syncline.contract import Retryable, SynclineError
from syncline.contract.http import backoff
from syncline.ledger.storable import storable
from syncline.ledger.writer import FenceLost
from syncline.runs import claims, crash
from syncline.runs.claims import Claim, Lease
from syncline.runs.models import Run, RunPart
from syncline.runs.outcome import consequence
from syncline.runs.push.definitions import note_suspended

from . import follow, receive, relay
from .job import StreamJob, lease_seconds

log = logging.getLogger("syncline.runs")


def carry_out(claim: Claim, stop: threading.Event, wake: threading.Event) -> None:
    """Ends with the part given back, whatever happened; never raises for what it ran into."""
    Run.objects.filter(pk=claim.part.run_id, state=Run.State.QUEUED).update(state=Run.State.RUNNING, started_at=Now())
    crash.point("stream.claimed")
    try:
        with Lease(claim.fence, lease_seconds()) as lease:
            job = StreamJob(claim, lease, stop, wake)
            note_suspended(job.run.pk, job.mapping)
            try:
                _handler(job)(job)
            finally:
                job.count_calls()
        claims.release(claim.fence)
    except FenceLost:
        log.info("Part %s of run %s is somebody else's by now.", claim.part.pk, claim.part.run_id)
    except Exception as error:  # noqa: BLE001 - every error has its consequence in the table
        _suffer(claim, error)
    claims.let_go(claim.fence)


def _handler(job: StreamJob) -> Callable[[StreamJob], None]:
    if job.part.kind == RunPart.Kind.RELAY:
        return relay.pass_on
    return receive.take_in if job.object_type.log else follow.follow


LONGEST: Final = 60.0


def _suffer(claim: Claim, error: Exception) -> None:
    """A continuous part is never given up: it is tried again, after pauses that grow as long as nothing succeeds."""
    connection.close_if_unusable_or_obsolete()
    if not isinstance(error, SynclineError):
        log.exception("Part %s of run %s failed.", claim.part.pk, claim.part.run_id)
    said = (
        storable(str(error)) if isinstance(error, SynclineError) else f"Unexpected {type(error).__name__}; see the process's log."
    )
    if state := consequence(error).connection:
        mark(claim.part.run.sync.connection_id, state, said)
    attempt = RunPart.objects.values_list("attempt", flat=True).get(pk=claim.part.pk)
    after = error.after if isinstance(error, Retryable) and error.after is not None else backoff(attempt)
    log.warning("Part %s of run %s pauses for %.1f s: %s", claim.part.pk, claim.part.run_id, after, said)
    claims.release(claim.fence, after=min(after, LONGEST), error=said, spent=True)


def in_thread(claim: Claim, stop: threading.Event, wake: threading.Event) -> threading.Thread:
    def work() -> None:
        try:
            carry_out(claim, stop, wake)
        except Exception:
            log.exception("Part %s could not be given back; its lease runs out by itself.", claim.part.pk)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, name=f"stream-{claim.part.pk}", daemon=True)
    thread.start()
    return thread
