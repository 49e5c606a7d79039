"""Chains of syncs: which one starts when another has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.apps import apps

if TYPE_CHECKING:
    from .models import Sync


def complaint(sync: Sync) -> str:
    """Why this sync cannot follow the one it names, "" when it can (or follows none)."""
    before = sync.follows
    if before is None:
        return ""
    if before.connection_id != sync.connection_id:
        return f"{before.name} goes over another connection. Choose a sync over {sync.connection.name}."
    if ring := circle(sync):
        return f"These syncs would wait for each other: {' → '.join(ring)}. Let one of them follow none."
    if sync.cron:
        return f"It starts after {before.name}, so it has no schedule of its own. Leave one of the two empty."
    return ""


def circle(sync: Sync) -> list[str]:
    """The names round the circle that this sync is part of, in the order in which they would start; none without one."""
    model: type[Sync] = apps.get_model("syncline", "Sync")
    over = model.objects.filter(connection_id=sync.connection_id).values_list("pk", "name", "follows_id")
    known: dict[int, tuple[str, int | None]] = {pk: (name, before) for pk, name, before in over}
    if sync.pk is not None:
        known[sync.pk] = (sync.name, sync.follows_id)
    walked = _walk(sync.pk, sync.follows_id, {pk: before for pk, (_, before) in known.items()})
    return [known[pk][0] for pk in walked]


def _walk(start: int | None, before: int | None, follows: Mapping[int, int | None]) -> list[int]:
    """From `start` backwards until it comes round, turned forwards; nothing when it does not."""
    path: list[int] = []
    while before is not None and before not in path:
        path.append(before)
        if before == start:
            return [start, *reversed(path)]
        before = follows.get(before)
    return []
