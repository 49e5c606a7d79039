"""What changed in the accounts that touches published mappings: for pages and the command line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncline.catalog import changes as catalog
from syncline.catalog.models import CatalogChange
from syncline.contract import ConfigError

from . import publish
from .engine.content import MappingContent
from .engine.drift import MATCHED, STEP_TOO, Drifted, matches
from .models import Sync


@dataclass(frozen=True, slots=True)
class Finding:
    """One open change, with the sync whose published mapping writes what changed.

    `since`: when it was noticed, None when no discovery noticed it. `stops`: runs of the sync cannot go on at all. `change`
    is None when not a property changed but the whole object cannot be used; `sentence` says why.
    """

    sync: Sync
    target: str
    sentence: str
    effect: str
    remedy: str
    since: dt.datetime | None = None
    stops: bool = False
    change: Drifted | None = None

    @property
    def aspect(self) -> str:
        return self.change.aspect if self.change else "object"

    @property
    def label(self) -> str:
        """What happened, in two words."""
        return _LABELS[self.aspect]

    @property
    def can_accept(self) -> bool:
        """Whether the rule can go on as it is once the mapping is published again."""
        return self.aspect in ("kind", "choices")


_LABELS = {
    "removed": "removed",
    "read_only": "read-only now",
    "kind": "type changed",
    "choices": "choices removed",
    "object": "not offered",
}


def of_sync(sync: Sync) -> list[Finding]:
    """Open changes that touch the sync's published mapping; none when there is no published mapping."""
    if sync.current is None:
        return []
    try:
        found = publish.drift(sync.current)
    except ConfigError as error:
        return [Finding(sync, sync.object_type, str(error), "The sync cannot run.", "", stops=True)]
    if not found:
        return []
    noticed = {(row.property, row.aspect): row.noticed_at for row in catalog.open_changes(sync.connection, sync.object_type)}
    content = MappingContent.from_json(sync.current.content)
    return [_finding(sync, content, one, noticed.get((one.target, one.aspect))) for one in found]


def _finding(sync: Sync, content: MappingContent, one: Drifted, since: dt.datetime | None) -> Finding:
    by_it, policy = matches(content, one), sync.drift_policy == Sync.DriftPolicy.STOP
    effect, remedy = one.effect, one.remedy
    if by_it:
        effect, remedy = MATCHED, f"{one.remedy} {STEP_TOO}"
    elif policy:
        effect = "The sync does not run: it is set to stop at such changes."
    return Finding(sync, one.target, one.sentence, effect, remedy, since, by_it or policy, one)


def of_syncs(syncs: Iterable[Sync]) -> list[Finding]:
    """Of many. Definitions are read only for syncs some property or object of which changed at all."""
    chosen = list(syncs)
    open_ = set(
        CatalogChange.objects.filter(connection__in={one.connection_id for one in chosen}, settled_at=None)
        .exclude(aspect=CatalogChange.Aspect.ADDED)
        .order_by()
        .values_list("connection", "object_type", "property")
        .distinct()
    )
    return [finding for one in chosen if _touched(one, open_) for finding in of_sync(one)]


def _touched(sync: Sync, open_: set[tuple[int, str, str]]) -> bool:
    if sync.current is None:
        return False
    targets = ["", *(rule["target"] for rule in sync.current.content["rules"])]
    return any((sync.connection_id, sync.object_type, target) in open_ for target in targets)


def others(findings: Sequence[Finding], syncs: Iterable[Sync]) -> list[CatalogChange]:
    """Open changes in the accounts of these syncs that touch none of the mappings; newest first."""
    told = {(one.sync.connection_id, one.sync.object_type, one.target) for one in findings}
    rows = CatalogChange.objects.filter(connection__in={one.connection_id for one in syncs}, settled_at=None)
    rows = rows.select_related("connection").defer("connection__credentials").order_by("-id")
    return [row for row in rows if (row.connection_id, row.object_type, row.property) not in told]
