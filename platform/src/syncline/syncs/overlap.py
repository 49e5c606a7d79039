"""Syncs that write the same properties of the same records: each sends again what the other one changed."""

from __future__ import annotations

from .engine import MappingContent
from .models import Sync


def warning(sync: Sync) -> str:
    """A sentence about switched-on syncs that share properties with this one's published mapping, "" without any.

    Whether their segments and filters share records cannot be known, so it is no refusal.
    """
    mine = _written(sync)
    shared = [(other.name, sorted(mine & _written(other))) for other in _beside(sync)]
    said = [f"{name} ({', '.join(properties)})" for name, properties in shared if properties]
    if not said:
        return ""
    return (
        f"Properties that another sync of these records writes as well: {'; '.join(said)}."
        " Where both hold a record, each overwrites the other's values in turn: map a property in one of them only,"
        " or give them segments that share no record."
    )


def _beside(sync: Sync) -> list[Sync]:
    same = Sync.objects.filter(
        connection_id=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset, enabled=True, current__isnull=False
    )
    return list(same.exclude(pk=sync.pk).select_related("current").order_by("name"))


def _written(sync: Sync) -> set[str]:
    if sync.current is None:
        return set()
    return {rule.target for rule in MappingContent.from_json(sync.current.content).rules}
