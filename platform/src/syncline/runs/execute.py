"""Carries out one claimed part, and turns whatever goes wrong into what happens next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from django.db import DatabaseError, connection, connections
from django.db.models.functions import Now

from syncline.connections.tokens import mark
from syncline.contract import Retryable, SynclineError
from syncline.contract.http import backoff
from syncline.ledger.storable import storable

from . import claims, mirror
from .claims import Claim, Lease
from .close import close_run
from .job import Job
from .models import Run, RunPart
from .outcome import consequence
from .plan import apply, leaving, plan
from .pull import approving
from .pull import steps as pull_steps
from .push import bulk, steps

EXPRESS_SECONDS = 0.25

log = logging.getLogger("syncline.runs")

#: What each kind of part does. One gives up with an exception, else it has finished or released its claim.
HANDLERS: Mapping[str, Callable[[Job], None]] = {
    RunPart.Kind.PREPARE: steps.prepare,
    RunPart.Kind.RANGE: steps.push_range,
    RunPart.Kind.KEYS: steps.push_keys,
    RunPart.Kind.BULK: bulk.carry_out,
    RunPart.Kind.PLANNED: apply.apply_rows,
    RunPart.Kind.LEAVING: mirror.remove_left,
    RunPart.Kind.PULL: pull_steps.pull_pages,
    RunPart.Kind.FETCH: pull_steps.fetch_records,
    RunPart.Kind.MISSING: pull_steps.look_for_missing,
}

#: Runs of these kinds do something else with some of their parts.
OF_RUNS: Mapping[str, Mapping[str, Callable[[Job], None]]] = {
    Run.Kind.PLAN: {
        RunPart.Kind.RANGE: plan.plan_range,
        RunPart.Kind.KEYS: plan.plan_keys,
        RunPart.Kind.LEAVING: leaving.plan_leaving,
    },
    Run.Kind.APPLY: {
        RunPart.Kind.PREPARE: apply.prepare,
        RunPart.Kind.KEYS: apply.apply_keys,
        RunPart.Kind.LEAVING: leaving.apply_leaving,
    },
    Run.Kind.REMOVAL: {RunPart.Kind.FETCH: approving.delete_listed},
}


def execute(claim: Claim, deadline: float = float("inf")) -> None:
    """Ends with the part done, queued again or dead; never raises for what the part ran into."""
    Run.objects.filter(pk=claim.part.run_id, state=Run.State.QUEUED).update(state=Run.State.RUNNING, started_at=Now())
    try:
        with Lease(claim.fence) as lease:
            job = Job(claim, lease, deadline)
            try:
                _handler(claim.part)(job)
            finally:
                job.count_calls()
    except Exception as error:  # noqa: BLE001 - every error has its consequence in the table
        _suffer(claim, error)
    close_run(claim.part.run_id)


def _handler(part: RunPart) -> Callable[[Job], None]:
    return OF_RUNS.get(part.run.kind, {}).get(part.kind) or HANDLERS[part.kind]


def _suffer(claim: Claim, error: Exception) -> None:
    what = consequence(error)
    connection.close_if_unusable_or_obsolete()  # else giving the part back would fail for the same reason
    if not isinstance(error, SynclineError):
        log.exception("Part %s of run %s failed.", claim.part.pk, claim.part.run_id)
    message = (
        storable(str(error)) if isinstance(error, SynclineError) else f"Unexpected {type(error).__name__}; see the worker's log."
    )
    if what.connection:
        mark(claim.part.run.sync.connection_id, what.connection, message)
    if what.part == "again":
        after = error.after if isinstance(error, Retryable) and error.after is not None else backoff(claim.part.attempt + 1)
        claims.release(claim.fence, after=after, error=message, spent=what.spends)
    elif what.part in ("dead", "ends"):
        claims.finish(claim.fence, RunPart.State.DEAD, message)
    if what.part == "ends":
        RunPart.objects.filter(run=claim.part.run_id, state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED)


def work(seconds: float, run_id: int | None = None) -> bool:
    """Carries out claimable parts one after the other; True when time was up before they were.

    Beside them, what somebody waits for is carried out at once, whatever long part this worker is at.
    """
    owner = claims.owner_name()
    end = time.monotonic() + seconds
    with _Express(owner, run_id, end):
        while time.monotonic() < end:
            for buried in claims.bury():
                close_run(buried)
            claim = claims.claim(owner, run_id)
            if claim is None:
                return False
            execute(claim, end)
    return True


class _Express:
    """Claims urgent parts from a thread of its own."""

    def __init__(self, owner: str, run_id: int | None, end: float) -> None:
        self._owner, self._run_id, self._end = f"{owner}+", run_id, end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="express", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(EXPRESS_SECONDS):
                self._look()
        finally:
            connections.close_all()

    def _look(self) -> None:
        try:
            while time.monotonic() < self._end and (claim := claims.claim(self._owner, self._run_id, urgent=True)):
                execute(claim, self._end)
        except DatabaseError as error:
            log.warning("No urgent part could be claimed (%s); trying again.", type(error).__name__)
            connections.close_all()
