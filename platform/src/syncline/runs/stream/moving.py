"""How far a log was taken in, partition by partition, and moved by a person while nobody is at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from syncline.catalog import service as catalog
from syncline.contract import ConfigError, SynclineError
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run, RunPart
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Place:
    """`position`: of the next message to be taken in; "" for the oldest there is."""

    partition: str
    position: str

    def __str__(self) -> str:
        where = f"partition {self.partition}" if self.partition else "the log"
        return f"{where}: {f'the next message is {self.position}' if self.position else 'begins with the oldest message'}"


def is_log(sync: Sync) -> bool:
    """Whether it takes in messages of a log."""
    if sync.direction != Direction.PULL:
        return False
    try:
        return catalog.object_type(sync.connection, sync.object_type).log
    except SynclineError:
        return False


def places(sync: Sync) -> list[Place]:
    """Of the partitions that are known by now, in order."""
    newest = Run.objects.filter(sync=sync, kind=Run.Kind.STREAM).order_by("-pk").first()
    names = dict(Checkpoint.objects.filter(sync=sync).values_list("partition", "position"))
    if newest is not None:
        parts = newest.parts.filter(kind=RunPart.Kind.STREAM).values_list("partition", flat=True)
        names = dict.fromkeys(parts, "") | names
    return [Place(name, names[name]) for name in sorted(names, key=_order)]


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)


def move(sync: Sync, position: str | None, partition: str | None = None) -> str:
    """The next message to be taken in is that at `position`; None: the oldest there is, of all partitions unless one is named.

    ConfigError says why it cannot be done now.
    """
    chosen = _chosen(sync, position, partition)
    with transaction.atomic():
        _refuse_unless_resting(sync)
        _take_from_the_dead(sync)
        for name in chosen:
            Checkpoint.objects.update_or_create(sync=sync, partition=name, defaults={"position": position or "", "run_id": None})
    where = ", ".join(f"partition {name}" for name in chosen if name) or "the log"
    then = f"at {position}" if position else "with the oldest message there is"
    return f"When it goes on, {where} begins {then}."


def _chosen(sync: Sync, position: str | None, partition: str | None) -> Sequence[str]:
    known = [one.partition for one in places(sync)]
    if position is not None and not 0 < len(position) <= LONGEST:
        raise ConfigError(f"A position has 1 to {LONGEST} characters. Give that of the next message, e.g. its offset.")
    if partition is not None:
        if known and partition not in known:
            raise ConfigError(f"{sync.object_type} has no partition {partition!r}. Choose one of {', '.join(known)}.")
        return [partition]
    if position is None:
        return known
    if len(known) != 1:
        raise ConfigError(f"Say which partition of {sync.object_type} is meant: each counts its messages by itself.")
    return known


def _refuse_unless_resting(sync: Sync) -> None:
    """Holds the parts: nobody claims one of them before the position is moved."""
    run = Run.objects.select_for_update().filter(sync=sync, state__in=Run.ACTIVE).first()
    if run is None:
        return
    if sync.enabled and run.state != Run.State.PAUSED:
        raise ConfigError(f"{sync.name} is running. Pause it, or switch it off, then set the position.")
    list(run.parts.select_for_update().filter(kind__in=RunPart.CONTINUOUS).values_list("pk"))
    with connection.cursor() as cursor:
        cursor.execute(_CARRIED, [run.pk])
        if cursor.fetchone()[0]:
            raise ConfigError(f"A process is still finishing what it is at for {sync.name}. Try again in some seconds.")


_CARRIED = """
SELECT EXISTS (SELECT 1 FROM syncline_runpart WHERE run_id = %s AND kind = 'stream' AND state = 'leased' AND lease_until >= now())
"""
# One that died may come back; what it still holds in memory was read before the position was moved.
_TAKE = """
UPDATE syncline_runpart p SET state = 'queued', fence = fence + 1, lease_until = NULL FROM syncline_run r
WHERE r.id = p.run_id AND r.sync_id = %s AND r.state IN ('queued', 'running', 'paused')
  AND p.kind = 'stream' AND p.state = 'leased'
"""


def _take_from_the_dead(sync: Sync) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [sync.pk])
