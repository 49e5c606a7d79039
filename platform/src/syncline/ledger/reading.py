"""Reading the ledger for people: which link, what was sent, why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model, QuerySet

from syncline.connections import access
from syncline.contract import Dataset, SynclineError
from syncline.registry import dataset, datasets
from syncline.syncs.models import Sync

from .models import Entry, Link


def visible_links(user: User) -> QuerySet[Link]:
    return Link.objects.filter(connection__in=access.visible_connections(user)).select_related("connection")


def entries(link: Link) -> QuerySet[Entry]:
    """Newest first."""
    return Entry.objects.filter(link_id=link.pk).order_by("-at", "-id")


def links_of(sync: Sync, keys: Collection[str]) -> dict[str, int]:
    """Local key → id of its link, for the keys that have one."""
    found = Link.objects.filter(
        connection_id=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset, local_key__in=keys
    )
    return dict(found.values_list("local_key", "pk"))


def titles(dataset_key: str, keys: Collection[str]) -> Mapping[str, str]:
    """Short names of local records; none when the dataset's app is gone."""
    try:
        return dataset(dataset_key).title(keys) if keys else {}
    except SynclineError:
        return {}


def last_sent(link_ids: Collection[int]) -> dict[int, str]:
    """A few values of what was sent last, by link: what a record that has gone from here was called."""
    found = Entry.objects.filter(link_id__in=link_ids).exclude(sent={}).order_by("link_id", "-at", "-id").distinct("link_id")
    return {link: _shown(sent) for link, sent in found.values_list("link_id", "sent")}


def _shown(sent: Mapping[str, Any]) -> str:
    return " · ".join([value[:60] for value in sent.values() if isinstance(value, str) and value][:3])


def may_read(user: User, dataset_key: str) -> bool:
    """Whether this person may see the dataset's records; false when its app is gone."""
    found = datasets().get(dataset_key)
    return found is not None and (not found.info.permission or user.has_perm(found.info.permission))


def readable(user: User) -> frozenset[str]:
    """Keys of the datasets whose records this person may see."""
    return frozenset(key for key in datasets() if may_read(user, key))


def add_titles(user: User, links: Iterable[Any]) -> None:
    """Sets `title` on each link: one query per dataset among them, and none for what the person may not read."""
    by_dataset: dict[str, list[Any]] = {}
    for one in links:
        by_dataset.setdefault(one.dataset, []).append(one)
    for key, those in by_dataset.items():
        names = titles(key, [one.local_key for one in those]) if may_read(user, key) else {}
        for one in those:
            one.title = names.get(one.local_key, "")


def datasets_of(instance: Model) -> list[Dataset]:
    label = instance._meta.label_lower
    return [one for one in datasets().values() if one.info.model.lower() == label]


def record_links(user: User, one: Dataset, local_key: str) -> list[Link]:
    """Where this local record went, over the connections the person may see."""
    return list(visible_links(user).filter(dataset=one.info.key, local_key=local_key).order_by("connection__name", "object_type"))
