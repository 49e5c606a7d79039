"""“Where did this record go?” on the admin page of any model that has a dataset."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.models import User
from django.db.models import Model

from syncline.connections import access
from syncline.contract import Dataset, Op
from syncline.ledger.messages import Incoming
from syncline.ledger.reading import datasets_of, may_read, record_links
from syncline.runs.stream.moving import is_log
from syncline.syncs.models import Sync

from .display import badge


def panel(user: User, instance: Model) -> list[dict[str, Any]] | None:
    """One row per connection and object; None when the model has no dataset, or nothing is synced that the person may see."""
    found = [one for one in datasets_of(instance) if may_read(user, one.info.key)]
    rows = [row for one in found for row in _rows(user, one, instance)]
    return rows or None


LATEST: Final = 10


def messages(user: User, instance: Model) -> list[dict[str, Any]]:
    """The latest messages of logs that changed this record, newest first; none for records that no messages concern."""
    takers = [one for one in datasets_of(instance) if Op.UPSERT in one.info.writes and may_read(user, one.info.key)]
    return [row for one in takers for row in _messages(user, one, instance)]


def _messages(user: User, one: Dataset, instance: Model) -> list[dict[str, Any]]:
    syncs = {sync.pk: sync for sync in _syncs(user, one).filter(continuous=True)}
    rows = Incoming.objects.filter(local_key=one.record_key(instance), sync_id__in=list(syncs)).order_by("-id")[:LATEST]
    return [{"row": row, "sync": syncs[row.sync_id], "badge": badge(row.status)} for row in rows]


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
    linking = [sync for sync in syncs if not (sync.continuous and is_log(sync))]  # messages make no links
    nowhere = {(sync.connection_id, sync.object_type): sync for sync in linking}
    return linked + [
        {"connection": sync.connection, "object_type": sync.object_type, "link": None, "badge": badge("", "not read yet")}
        for pair, sync in nowhere.items()
        if pair not in known
    ]


def _syncs(user: User, one: Dataset) -> Any:
    seen = Sync.objects.filter(dataset=one.info.key, connection__in=access.visible_connections(user))
    return seen.select_related("connection").defer("connection__credentials").order_by("connection__name", "object_type")
