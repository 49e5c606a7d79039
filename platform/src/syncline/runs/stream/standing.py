"""How continuous syncs stand, for people to see: who carries them out, how far they came, what keeps them from going on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from django.db import connection
from django.db.models import Count

from syncline.ledger.messages import DeadLetter
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run, RunPart
from syncline.runs.workers import StreamProcess, stream_processes
from syncline.syncs.models import Sync

MOST_COUNTED: Final = 100_000
"""More messages than this are not counted one by one: a page asks every few seconds."""


class State(StrEnum):
    OFF = "switched off"
    UNPUBLISHED = "not published yet"
    BLOCKED = "blocked"
    PAUSED = "paused"
    NO_PROCESS = "no process"
    STARTING = "starting"
    TROUBLE = "in trouble"
    WAITING = "waiting for a process"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Queue:
    """Messages of a shard that wait. `oldest`: when the first of them arrived here."""

    waiting: int = 0
    oldest: dt.datetime | None = None

    @property
    def many(self) -> bool:
        """Whether there are more than were counted."""
        return self.waiting >= MOST_COUNTED


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of a remote log, or one shard of ours. `behind`: None where nobody has told yet."""

    row: RunPart
    process: StreamProcess | None
    position: str
    behind: int | None
    queue: Queue | None
    now: dt.datetime

    @property
    def carried(self) -> bool:
        alive = self.process is not None and not self.process.silent
        return alive and self.row.state == RunPart.State.LEASED and (self.row.lease_until or self.now) >= self.now

    @property
    def failing(self) -> bool:
        """Also while it is being tried again, until that has succeeded."""
        return bool(self.row.last_error)

    @property
    def pauses(self) -> bool:
        """Whether it is tried again only later."""
        return not self.carried and self.row.not_before > self.now


@dataclass(frozen=True, slots=True)
class Standing:
    """`oldest`: arrival of the oldest message that waits to be passed on. `processes`: all that there are."""

    state: State
    run: Run | None = None
    reason: str = ""
    parts: Sequence[Part] = ()
    processes: Sequence[StreamProcess] = ()
    open_letters: int = 0
    now: dt.datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def behind(self) -> int | None:
        known = [one.behind for one in self.parts if one.behind is not None]
        return sum(known) if known else None

    @property
    def rate(self) -> float:
        return round(sum(one.row.rate or 0.0 for one in self.parts if one.carried), 1)

    @property
    def oldest(self) -> dt.datetime | None:
        return min((one.queue.oldest for one in self.parts if one.queue and one.queue.oldest), default=None)


TROUBLED: Final = frozenset({State.BLOCKED, State.NO_PROCESS, State.TROUBLE})


def of_sync(sync: Sync) -> Standing:
    return of_syncs([sync])[sync.pk]


def of_syncs(syncs: Sequence[Sync]) -> dict[int, Standing]:
    """By id, in a few queries for all of them."""
    ids = [sync.pk for sync in syncs]
    active = Run.objects.filter(sync__in=ids, kind=Run.Kind.STREAM, state__in=Run.ACTIVE).defer("reason")
    runs = {run.sync_id: run for run in active}
    known = _Known.of(ids, list(runs.values()))
    return {sync.pk: _standing(sync, runs.get(sync.pk), known) for sync in syncs}


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of all of them. `positions`: by sync and partition; `queues`: by sync and shard; `letters`: open ones."""

    now: dt.datetime
    processes: Sequence[StreamProcess]
    parts: Mapping[int, Sequence[RunPart]]
    positions: Mapping[tuple[int, str], str]
    queues: Mapping[tuple[int, str], Queue]
    letters: Mapping[int, int]

    @classmethod
    def of(cls, ids: Sequence[int], runs: Sequence[Run]) -> _Known:
        parts: dict[int, list[RunPart]] = {}
        sync_of = {run.pk: run.sync_id for run in runs}
        for part in RunPart.objects.filter(run__in=list(sync_of), kind__in=RunPart.CONTINUOUS).defer("keys"):
            parts.setdefault(sync_of[part.run_id], []).append(part)
        places = Checkpoint.objects.filter(sync__in=ids).values_list("sync_id", "partition", "position")
        shards = [(sync, one.partition) for sync, those in parts.items() for one in those if one.kind == RunPart.Kind.RELAY]
        open_ = DeadLetter.objects.filter(sync__in=ids, state=DeadLetter.State.OPEN).order_by()
        letters = dict(open_.values_list("sync").annotate(Count("pk")))
        positions = {(sync, name): position for sync, name, position in places}
        return cls(_now(), stream_processes(), parts, positions, _queues(shards), letters)


def _standing(sync: Sync, run: Run | None, known: _Known) -> Standing:
    rows = sorted(known.parts.get(sync.pk, ()), key=_order)
    named = {one.name: one for one in known.processes}
    parts = [_part(one, named.get(one.owner), sync.pk, known) for one in rows]
    state, reason = _state(sync, run, parts, known.processes)
    counts = {name: sum(getattr(one, name) for one in rows) for name in Run.NAMES}
    return Standing(state, run, reason, parts, known.processes, known.letters.get(sync.pk, 0), known.now, counts)


def _state(sync: Sync, run: Run | None, parts: Sequence[Part], processes: Sequence[StreamProcess]) -> tuple[State, str]:
    """With a sentence for what a person has to do, or may wonder about."""
    if held := _held_up(sync, run):
        return held
    if all(one.silent for one in processes):
        return State.NO_PROCESS, NO_PROCESS
    return _carried(parts) if parts else (State.STARTING, "It begins within seconds.")


def _held_up(sync: Sync, run: Run | None) -> tuple[State, str] | None:
    """By what a person did, or has to do."""
    if not sync.enabled:
        return State.OFF, "It is switched off. Messages stay where they are, and are taken up when it is switched on again."
    if sync.current_id is None:
        return State.UNPUBLISHED, "Publish the draft: it begins by itself then."
    if run is not None and run.state == Run.State.PAUSED:
        return State.PAUSED, "It is paused. Resume it to go on where it stood."
    return (State.BLOCKED, sync.blocked_reason) if sync.blocked_reason else None


NO_PROCESS: Final = "No stream process is running, so nothing is taken in or passed on. Start one with: syncline stream"


def _carried(parts: Sequence[Part]) -> tuple[State, str]:
    failing = sum(1 for one in parts if one.failing)
    if failing:
        share = "It" if len(parts) == 1 else f"{failing} of {len(parts)} parts"
        return State.TROUBLE, f"{share} cannot go on at the moment, and tries again by itself. See the last error."
    if all(one.carried for one in parts):
        return State.RUNNING, ""
    return State.WAITING, f"{sum(not one.carried for one in parts)} of {len(parts)} parts wait for a process to take them."


def _part(row: RunPart, process: StreamProcess | None, sync_id: int, known: _Known) -> Part:
    if row.kind != RunPart.Kind.RELAY:
        return Part(row, process, known.positions.get((sync_id, row.partition), ""), row.behind, None, known.now)
    queue = known.queues.get((sync_id, row.partition), Queue())
    return Part(row, process, "", queue.waiting, queue, known.now)


def _order(row: RunPart) -> tuple[int, str]:
    """Partition 10 comes after partition 9."""
    return (int(row.partition) if row.partition.isdecimal() else -1, row.partition)


# The oldest of a shard is its first: they are queued in the order in which they arrived.
_QUEUES = """
SELECT s.sync, s.shard, n.waiting, f.arrived
FROM unnest(%(syncs)s::bigint[], %(shards)s::smallint[]) AS s (sync, shard)
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT 1 FROM syncline_outgoing o
        WHERE o.sync_id = s.sync AND o.shard = s.shard AND o.state = 'waiting' LIMIT %(most)s) w
) n
LEFT JOIN LATERAL (
    SELECT coalesce(e.received_at, o.queued_at) AS arrived
    FROM syncline_outgoing o LEFT JOIN syncline_inboxevent e ON e.id = o.event_id
    WHERE o.sync_id = s.sync AND o.shard = s.shard AND o.state = 'waiting' ORDER BY o.event_id LIMIT 1
) f ON true
"""


def _queues(shards: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Queue]:
    """By sync and shard."""
    if not shards:
        return {}
    asked: dict[str, Any] = {"syncs": [one for one, _ in shards], "shards": [int(one) for _, one in shards], "most": MOST_COUNTED}
    with connection.cursor() as cursor:
        cursor.execute(_QUEUES, asked)
        return {(sync, str(shard)): Queue(waiting, oldest) for sync, shard, waiting, oldest in cursor.fetchall()}


def _now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: dt.datetime = cursor.fetchone()[0]
    return found
