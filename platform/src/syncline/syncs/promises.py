"""What a sync's settings promise beyond its mapping, and why that cannot be kept: removals, and changes that are watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from syncline.contract import Dataset, ObjectType, Op

from . import continuity
from .engine.content import Direction, Mode
from .engine.problems import Problem
from .models import Sync

REMOVAL_OPS: Final[Mapping[str, Op]] = {
    Sync.DeletePolicy.CLEAR: Op.UPDATE,
    Sync.DeletePolicy.ARCHIVE: Op.ARCHIVE,
    Sync.DeletePolicy.DELETE: Op.DELETE,
}
"""What a delete policy needs the system to offer; one that is not here removes nothing."""


def broken_promises(sync: Sync, dataset: Dataset, object_type: ObjectType) -> Iterator[Problem]:
    """Problems of the draft, none when all can be kept."""
    if removes(sync) and (reason := _not_removable(sync, dataset, object_type)):
        yield Problem("Removal", reason)
    if sync.direction != Direction.PULL and (sync.changes_cron or sync.at_once) and (reason := undeclared(dataset)):
        yield Problem("Changes", reason)
    if reason := continuity.complaint(sync, dataset.info, object_type):
        yield Problem("Continuous", reason)


def removes(sync: Sync) -> bool:
    """Whether its draft takes anything away."""
    return sync.mode == Mode.MIRROR and sync.delete_policy in REMOVAL_OPS


def _not_removable(sync: Sync, dataset: Dataset, object_type: ObjectType) -> str:
    there = not_offered(sync.delete_policy, object_type) or shared(sync) if sync.direction != Direction.PULL else ""
    return there or (not_deletable(sync.delete_policy, dataset) if sync.direction != Direction.PUSH else "")


def not_deletable(policy: str, dataset: Dataset) -> str:
    """Why records here cannot go when theirs are gone; "" when they can."""
    if policy == Sync.DeletePolicy.CLEAR or Op.DELETE in dataset.info.writes:
        return ""
    return (
        f"{dataset.info.label} offers no delete to pulls, so that our record cannot go when theirs is gone. Leave it as it is, or"
        " have its app offer Op.DELETE."
    )


def not_offered(policy: str, object_type: ObjectType) -> str:
    """Why the delete policy cannot be carried out there; "" when it can."""
    op = REMOVAL_OPS.get(policy)
    if op is None or object_type.batch_sizes.get(op):
        return ""
    return (
        f"“{Sync.DeletePolicy(policy).label}” is not possible for {object_type.title}: the system offers no {op.value} for them."
        " Choose another policy for records that left the sync."
    )


def shared(sync: Sync) -> str:
    """Why removing would take away what another sync delivers; "" when nobody else does."""
    others = Sync.objects.filter(
        connection=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset, enabled=True, current__isnull=False
    )
    other = others.exclude(pk=sync.pk).first()
    if other is None:
        return ""
    return (
        f"The sync {other.name} delivers the same dataset to the same object, so that what left this sync may belong to that one."
        " Make one sync of the two, or leave what left it as it is."
    )


def undeclared(one: Dataset) -> str:
    """Why changes of the dataset cannot be watched; "" when they can."""
    if one.depends_on:
        return ""
    return (
        f"The dataset {one.info.key} does not say which tables it depends on, so that its changes cannot be watched."
        " Do not push changes, neither at once nor by a schedule of their own, or have its app declare depends_on."
    )
