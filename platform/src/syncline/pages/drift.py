"""What changed in the account, as the pages of syncs, catalog and overview show it."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse

from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange, ObjectSnapshot
from syncline.connections import access
from syncline.contract import ConfigError
from syncline.syncs import drift
from syncline.syncs.drift import Finding
from syncline.syncs.models import Sync

SHOWN = 50
FIELDS = 6


def of_sync(sync: Sync) -> dict[str, Any]:
    """For the sync's page: its findings, and the same by target for the rows of the draft."""
    found = drift.of_sync(sync)
    snapshot = ObjectSnapshot.objects.filter(connection=sync.connection_id, key=sync.object_type).values_list("pk", flat=True)
    return {
        "findings": found,
        "findings_by_target": {one.target: one for one in found},
        "object_snapshot": snapshot.first() if found else None,
    }


def of_user(user: User) -> list[dict[str, Any]]:
    """For the overview: syncs this person sees, each with the open changes that touch its mapping."""
    syncs = Sync.objects.filter(connection__in=access.visible_connections(user), enabled=True, current__isnull=False)
    rows = syncs.select_related("connection", "current").defer("connection__credentials").order_by("name", "pk")
    by_sync = groupby(drift.of_syncs(rows), key=lambda one: one.sync)
    return [_row(sync, list(found)) for sync, found in by_sync]


def _row(sync: Sync, found: list[Finding]) -> dict[str, Any]:
    fields = [{"target": one.target, "label": one.label, "tone": tone(one)} for one in found[:FIELDS]]
    address = f"{reverse('admin:syncline_sync_change', args=[sync.pk])}#changed"
    return {"sync": sync.name, "address": address, "fields": fields, "more": len(found) - len(fields)}


def tone(one: Finding) -> str:
    return "bad" if one.stops else "warn"


def history(snapshot: ObjectSnapshot) -> list[dict[str, Any]]:
    """What changed about one object, newest first."""
    rows = CatalogChange.objects.filter(connection=snapshot.connection_id, object_type=snapshot.key).order_by("-id")
    return [{"row": row, "sentence": sentence(row)} for row in rows[:SHOWN]]


def sentence(row: CatalogChange) -> str:
    """Before and after, as far as a line holds it."""
    before, after = row.before or {}, row.after or {}
    if row.aspect == CatalogChange.Aspect.CHOICES:
        gone, came = _values(before), _values(after)
        return "; ".join(part for part in (gone and f"without {gone}", came and f"now with {came}") if part)
    if row.aspect in (CatalogChange.Aspect.ADDED, CatalogChange.Aspect.REMOVED):
        known = after or before
        return ", ".join(str(known[name]) for name in ("label", "kind", "title") if known.get(name))
    if row.aspect in (CatalogChange.Aspect.READ_ONLY, CatalogChange.Aspect.REQUIRED):
        return _NOW[row.aspect, bool(after.get(row.aspect))]
    changed = [name for name in after if before.get(name) != after[name]]
    return "; ".join(f"{name.replace('_', ' ')}: {_short(before.get(name))} → {_short(after[name])}" for name in changed)


_NOW = {
    ("read_only", True): "now read-only",
    ("read_only", False): "now writable",
    ("required", True): "now required",
    ("required", False): "no longer required",
}


def _values(part: dict[str, Any]) -> str:
    found = ", ".join(one["value"] for one in part.get("choices", ()))
    return _short(found) if found else ""


def _short(value: object, length: int = 120) -> str:
    text = "nothing" if value is None or value == "" else str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


# buttons of the sync's page


def leave_out(_page: Any, request: HttpRequest, sync: Sync) -> str:
    """Switches the rule of the given target off in the draft."""
    target = request.POST.get("target", "")
    if not sync.rules.filter(target=target, enabled=True).update(enabled=False):
        raise ConfigError(f"The draft has no rule that writes “{target}”. Publish the draft if it is as you want it.")
    return f"The rule for “{target}” is switched off in the draft. Publish the draft, so that runs go without it."


def refresh(_page: Any, _request: HttpRequest, sync: Sync) -> str:
    catalog.refresh(sync.connection)
    left = len(drift.of_sync(sync))
    if not left:
        return "The account was asked what it offers: everything this mapping writes is as it was when it was published."
    what = "one change still concerns" if left == 1 else f"{left} changes still concern"
    return f"The account was asked what it offers: {what} this mapping."
