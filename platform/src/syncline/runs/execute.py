"""Carries out one claimed part, and turns whatever goes wrong into what happens next."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from syncline.catalog import service as catalog
from syncline.connections.sessions import open_session
from syncline.connections.tokens import mark
from syncline.contract import Retryable, SynclineError
from syncline.contract.http import backoff
from syncline.ledger import writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.records import Scope
from syncline.registry import connector, dataset
from syncline.syncs.engine import CompiledMapping
from syncline.syncs.publish import compiled

from . import claims, crash
from .claims import Claim, Lease
from .close import PUT_OFF, SUSPENDED, close_run
from .models import Run, RunPart
from .outcome import consequence
from .push import prepare as preparation
from .push import reader
from .push.pipeline import Pipeline
from .push.prepare import Identifying
from .push.sender import Sender
from .push.work import Deferred, Policy

log = logging.getLogger("syncline.runs")
MAX_ROUNDS = 5


def execute(claim: Claim, deadline: float = float("inf")) -> None:
    """Ends with the part done, queued again or dead; never raises for what the part ran into."""
    Run.objects.filter(pk=claim.part.run_id, state=Run.State.QUEUED).update(state=Run.State.RUNNING, started_at=Now())
    try:
        with Lease(claim.fence) as lease:
            job = Job(claim, lease, deadline)
            try:
                job.carry_out()
            finally:
                job.count_calls()
    except Exception as error:  # noqa: BLE001 - every error has its consequence in the table
        _suffer(claim, error)
    close_run(claim.part.run_id)


class Job:
    """Everything one part needs, opened once."""

    def __init__(self, claim: Claim, lease: Lease, deadline: float) -> None:
        self.claim, self.lease, self.deadline = claim, lease, deadline
        self.part, self.run = claim.part, claim.part.run
        sync = self.sync = self.run.sync
        self.connector = connector(sync.connection.connector)
        self.object_type = catalog.object_type(sync.connection, sync.object_type)
        self.mapping = compiled(self.run.version)
        self.session = open_session(sync.connection, gate=lease.gate, timeout=claims.call_timeout())
        self.scope = Scope(sync.connection_id, sync.object_type, sync.dataset)
        self.force = self.run.kind == Run.Kind.RETRY
        self.source = reader.Source(
            dataset=dataset(sync.dataset),
            fields=self.mapping.fields,
            scope=self.scope,
            segment=self.mapping.content.segment,
            owner=sync.connection.owner,
            seed=_signed(self.mapping.digest),
            run_id=self.run.pk,
            force=self.force,
        )
        self._calls = 0

    def carry_out(self) -> None:
        if self.part.kind == RunPart.Kind.PREPARE:
            self._prepare()
        else:
            self._push()

    def count_calls(self) -> None:
        calls, self._calls = self.session.http.calls - self._calls, self.session.http.calls
        if calls:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE syncline_runpart SET calls = calls + %s WHERE id = %s", [calls, self.part.pk])

    def _prepare(self) -> None:
        ErrorGroup.objects.bulk_create(_suspended(self.run.pk, self.mapping), ignore_conflicts=True)
        preparation.prepare(self._identifying(), lambda: self.lease.gate(0.0))
        with transaction.atomic():
            if not claims.finish(self.claim.fence):
                raise writer.FenceLost
            RunPart.objects.filter(run=self.run, state=RunPart.State.BLOCKED).update(state=RunPart.State.QUEUED)

    def _identifying(self) -> Identifying:
        return Identifying(self.connector, self.session, self.object_type, self.mapping, self.mapping.content.match, self.source)

    def _push(self) -> None:
        chosen = self.part.kind == RunPart.Kind.KEYS
        writer.date_doubts(self.scope)
        if chosen and self._any_unlinked():
            preparation.restage(self._identifying(), self.part.keys)
            preparation.refresh_index(self._identifying(), lambda: self.lease.gate(0.0))
        pipeline = self._pipeline()
        chunks = (
            reader.chosen(self.source, self.part.keys, skip=int(self.part.cursor or 0))
            if chosen
            else reader.chunks(self.source, after=self.part.cursor or self.part.after_key, until=self.part.until_key)
        )
        complete = pipeline.run(chunks)
        crash.point("finish.before")
        if complete:
            claims.finish(self.claim.fence)
        else:
            claims.release(self.claim.fence)
        crash.point("finish.after")

    def _any_unlinked(self) -> bool:
        linked = Link.objects.filter(
            connection_id=self.scope.connection_id,
            object_type=self.scope.object_type,
            dataset=self.scope.dataset,
            local_key__in=self.part.keys,
            remote_id__isnull=False,
        ).exclude(state=Link.State.GONE)
        return linked.count() < len(set(self.part.keys))

    def _pipeline(self) -> Pipeline:
        policy = Policy(
            mapping=self.mapping,
            rule=self.mapping.content.match,
            object_type=self.object_type,
            mode=self.mapping.content.mode,
            gone_policy=self.sync.gone_policy,
            key_prefix=f"{self.session.installation}:{self.sync.dataset}:",
            force=self.force,
            share=0.25**self.part.round,
        )
        sender = Sender(self.connector, self.session, policy, self.scope, self.claim.fence)
        return Pipeline(
            policy=policy,
            scope=self.scope,
            fence=self.claim.fence,
            sender=sender,
            dataset=self.source.dataset,
            threads=settings.SYNCLINE_PUSH_THREADS,
            deadline=self.deadline,
            put_off=self._put_off,
            counts_read=not self.part.round,
        )

    def _put_off(self, deferred: Sequence[Deferred]) -> None:
        """Records whose turn comes later become a part of their own; after some rounds the run ends with them open."""
        waiting = {d.key: d.after for d in deferred}
        if self.part.round < MAX_ROUNDS:
            claims.requeue_keys(self.claim.fence, sorted(waiting), after=max(waiting.values()), round_=self.part.round + 1)
        else:
            ErrorGroup.objects.bulk_create([_given_up(self.part, sorted(waiting))], ignore_conflicts=True)


def _given_up(part: RunPart, keys: Sequence[str]) -> ErrorGroup:
    """So that no record is in no count."""
    return ErrorGroup(
        run_id=part.run_id,
        cause=f"put off {part.pk}",
        state=Link.State.PENDING,
        code=PUT_OFF,
        message=f"Put off {MAX_ROUNDS} times in this run: they changed each time they were looked at, or got no answer.",
        count=len(keys),
        samples=list(keys[:20]),
    )


def _suspended(run_id: int, mapping: CompiledMapping) -> list[ErrorGroup]:
    """Rules that the account has no property for any more: no record's fault, but the run is not a full success."""
    return [
        ErrorGroup(
            run_id=run_id, cause=f"suspended {number}", state=Link.State.PENDING, code=SUSPENDED, message=str(problem), samples=[]
        )
        for number, problem in enumerate(mapping.suspended)
    ]


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


def _signed(digest: str) -> int:
    """A mapping's digest as the seed of PostgreSQL's 64-bit hash."""
    return int.from_bytes(bytes.fromhex(digest)[:8], "big", signed=True)


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
