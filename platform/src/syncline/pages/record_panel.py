"""“Where did this record go?” on the admin page of any model that has a dataset."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model

from syncline.connections import access
from syncline.contract import Dataset
from syncline.ledger.reading import datasets_of, may_read, record_links
from syncline.syncs.models import Sync

from .display import badge


def panel(user: User, instance: Model) -> list[dict[str, Any]] | None:
    """One row per connection and object; None when the model has no dataset, or nothing is synced that the person may see."""
    found = [one for one in datasets_of(instance) if may_read(user, one.info.key)]
    rows = [row for one in found for row in _rows(user, one, instance)]
    return rows or None


def _rows(user: User, one: Dataset, instance: Model) -> list[dict[str, Any]]:
    syncs = list(_syncs(user, one))
    key = one.record_key(instance) if syncs else str(instance.pk)
    links = record_links(user, one, key)
    known = {(link.connection_id, link.object_type) for link in links}
    linked = [
        {
            "connection": link.connection,
            "object_type": link.object_type,
            "link": link,
            "badge": badge(link.state, link.get_state_display()),
        }
        for link in links
    ]
    nowhere = {(sync.connection_id, sync.object_type): sync for sync in syncs}
    return linked + [
        {"connection": sync.connection, "object_type": sync.object_type, "link": None, "badge": badge("", "not read yet")}
        for pair, sync in nowhere.items()
        if pair not in known
    ]


def _syncs(user: User, one: Dataset) -> Any:
    seen = Sync.objects.filter(dataset=one.info.key, connection__in=access.visible_connections(user))
    return seen.select_related("connection").defer("connection__credentials").order_by("connection__name", "object_type")
