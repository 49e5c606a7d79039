"""Everything that one claimed part needs, opened once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F

from syncline.catalog import service as catalog
from syncline.connections.budget import Lane
from syncline.connections.sessions import open_session
from syncline.ledger import writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.records import Outcome, Scope
from syncline.registry import connector, dataset
from syncline.syncs.engine import CompiledMapping
from syncline.syncs.publish import compiled

from . import claims, undone
from .claims import Claim, Lease
from .close import PUT_OFF
from .models import Run, RunPart
from .plan.looking import read_only
from .push import reader
from .push.deciding import Deciding
from .push.definitions import Definitions, freshen
from .push.pipeline import Carrier, Pipeline
from .push.prepare import Identifying
from .push.reader import Row
from .push.sender import Sender
from .push.work import Deferred, Policy, Verdict

MAX_ROUNDS = 5
SLICE_SECONDS = 2.0
"""For which changes of one connection may keep a worker while those of another wait."""
LANES: dict[int, Lane] = {
    RunPart.Priority.SCHEDULED: Lane.SCHEDULED,
    RunPart.Priority.CHANGE: Lane.CHANGE,
    RunPart.Priority.INTERACTIVE: Lane.INTERACTIVE,
}
"""How urgently the account is called, by the part's priority; what is not here is a backfill."""


class Job:
    """Everything one part needs, opened once."""

    def __init__(self, claim: Claim, lease: Lease, deadline: float) -> None:
        self.claim, self.lease, self.deadline = claim, lease, deadline
        self.part, self.run = claim.part, claim.part.run
        sync = self.sync = self.run.sync
        found = connector(sync.connection.connector)
        self.connector = read_only(found) if self.run.kind == Run.Kind.PLAN else found
        self.session = open_session(
            sync.connection, gate=lease.gate, lane=LANES.get(self.part.priority, Lane.BACKFILL), timeout=claims.call_timeout()
        )
        if self.part.kind in (RunPart.Kind.PREPARE, RunPart.Kind.PULL) or self.run.kind == Run.Kind.CHANGES:
            freshen(self.run.version, self.session)
        self.object_type = catalog.object_type(sync.connection, sync.object_type)
        self.mapping = compiled(self.run.version)
        self.definitions = Definitions(self.run.version, self.mapping, self.object_type, self.session)
        self.scope = Scope(sync.connection_id, sync.object_type, sync.dataset)
        self.force = self.run.kind == Run.Kind.RETRY
        self.source = reader.Source(
            dataset=dataset(sync.dataset),
            fields=self.mapping.fields,
            scope=self.scope,
            segment=self.mapping.content.segment,
            owner=sync.connection.owner,
            seed=seed_of(self.mapping),
            run_id=self.run.pk,
            force=self.force,
        )
        self._calls = 0
        self._began = time.monotonic()

    def count_calls(self) -> None:
        """Also when another worker closed the run just before: it has summed up without these."""
        calls, self._calls = self.session.http.calls - self._calls, self.session.http.calls
        if not calls:
            return
        with transaction.atomic():
            ended = bool(Run.objects.select_for_update(no_key=True).get(pk=self.run.pk).finished_at)
            RunPart.objects.filter(pk=self.part.pk).update(calls=F("calls") + calls)
            if ended:
                Run.objects.filter(pk=self.run.pk).update(calls=F("calls") + calls)

    def identifying(self) -> Identifying:
        return Identifying(self.connector, self.session, self.object_type, self.mapping, self.mapping.content.match, self.source)

    def policy(self) -> Policy:
        return Policy(
            mapping=self.mapping,
            rule=self.mapping.content.match,
            object_type=self.object_type,
            mode=self.mapping.content.mode,
            gone_policy=self.sync.gone_policy,
            key_prefix=f"{self.session.installation}:{self.sync.dataset}:",
            force=self.force,
            share=0.25**self.part.round,
        )

    def pipeline(self) -> Pipeline:
        """That of a push: what it decides is sent and goes to the ledger."""
        policy, scope, fence = self.policy(), self.scope, self.claim.fence
        decide = Deciding(policy, scope, self.run.pk, self.source.dataset, partial(writer.release, scope, fence))
        sender = Sender(self.connector, self.session, policy, scope, fence, self.definitions, changed_here=self.source.changed)
        return self.pipeline_of(policy, sender, decide, partial(writer.record, scope, fence))

    def pipeline_of(
        self,
        policy: Policy,
        sender: Carrier,
        decide: Callable[[Sequence[Row]], Iterable[Verdict]],
        settle: Callable[[Sequence[Outcome]], Collection[str]],
    ) -> Pipeline:
        """One that reads, batches and advances as every part does; for the rest see Pipeline."""
        return Pipeline(
            policy=policy,
            fence=self.claim.fence,
            sender=sender,
            decide=decide,
            settle=settle,
            threads=settings.SYNCLINE_PUSH_THREADS,
            stop=self.interrupted,
            put_off=self.put_off,
            counts_read=not self.part.round and not self.joined,
            counts_quiet=not self.joined,
        )

    @property
    def joined(self) -> bool:
        """Records that somebody waits for, in a run that will read them anyway."""
        urgent = self.part.kind == RunPart.Kind.KEYS and self.part.priority >= RunPart.Priority.CHANGE
        return urgent and self.run.kind in (Run.Kind.FULL, Run.Kind.RETRY)

    def alive(self) -> None:
        """Raises FenceLost when another worker has the part by now."""
        self.lease.gate(0.0)

    def interrupted(self) -> bool:
        """Time is up, the run was paused, the account changed or others have waited: the part is given back where it stands."""
        return time.monotonic() > self.deadline or self.lease.paused or self.definitions.moved or self._had_its_turn()

    def _had_its_turn(self) -> bool:
        if self.part.priority != RunPart.Priority.CHANGE or time.monotonic() < self._began + SLICE_SECONDS:
            return False
        return claims.others_wait(self.part.priority)

    def put_off(self, deferred: Sequence[Deferred]) -> None:
        """Records whose turn comes later become a part of their own; after some rounds the run ends with them open."""
        soon = 2.0**self.part.round  # together longer than a lease, in which every answer has come or its worker is dead
        waiting = {d.key: min(d.after, soon) if d.answered_soon else d.after for d in deferred}
        if self.part.round < MAX_ROUNDS:
            claims.requeue_keys(self.claim.fence, sorted(waiting), after=max(waiting.values()), round_=self.part.round + 1)
        else:
            ErrorGroup.objects.bulk_create([_given_up(self.part, sorted(waiting))], ignore_conflicts=True)
            undone.put_back(self.run.pk, sorted(waiting))


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


def seed_of(mapping: CompiledMapping) -> int:
    """A mapping's digest as the seed of PostgreSQL's 64-bit hash."""
    return int.from_bytes(bytes.fromhex(mapping.digest)[:8], "big", signed=True)
