"""Carries out one claimed part, and turns whatever goes wrong into what happens next."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from django.db.models.functions import Now

from syncline.connections.tokens import mark
from syncline.contract import Retryable, SynclineError
from syncline.contract.http import backoff

from . import claims
from .claims import Claim, Lease
from .close import close_run
from .job import Job
from .models import Run, RunPart
from .outcome import consequence
from .push import steps

log = logging.getLogger("syncline.runs")

#: What each kind of part does. One gives up with an exception, else it has finished or released its claim.
HANDLERS: Mapping[str, Callable[[Job], None]] = {
    RunPart.Kind.PREPARE: steps.prepare,
    RunPart.Kind.RANGE: steps.push_range,
    RunPart.Kind.KEYS: steps.push_keys,
}


def execute(claim: Claim, deadline: float = float("inf")) -> None:
    """Ends with the part done, queued again or dead; never raises for what the part ran into."""
    Run.objects.filter(pk=claim.part.run_id, state=Run.State.QUEUED).update(state=Run.State.RUNNING, started_at=Now())
    try:
        with Lease(claim.fence) as lease:
            job = Job(claim, lease, deadline)
            try:
                HANDLERS[claim.part.kind](job)
            finally:
                job.count_calls()
    except Exception as error:  # noqa: BLE001 - every error has its consequence in the table
        _suffer(claim, error)
    close_run(claim.part.run_id)


def _suffer(claim: Claim, error: Exception) -> None:
    what = consequence(error)
    if not isinstance(error, SynclineError):
        log.exception("Part %s of run %s failed.", claim.part.pk, claim.part.run_id)
    message = str(error) if isinstance(error, SynclineError) else f"Unexpected {type(error).__name__}; see the worker's log."
    if what.connection:
        mark(claim.part.run.sync.connection_id, what.connection, message)
    if what.part == "again":
        after = error.after if isinstance(error, Retryable) and error.after is not None else backoff(claim.part.attempt + 1)
        claims.release(claim.fence, after=after, error=message, spent=what.spends)
    elif what.part == "dead":
        claims.finish(claim.fence, RunPart.State.DEAD, message)


def work(seconds: float, run_id: int | None = None) -> bool:
    """Carries out claimable parts one after the other; True when time was up before they were."""
    owner = claims.owner_name()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for buried in claims.bury():
            close_run(buried)
        claim = claims.claim(owner, run_id)
        if claim is None:
            return False
        execute(claim, end)
    return True
