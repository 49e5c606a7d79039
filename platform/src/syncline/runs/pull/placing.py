"""A person decides what becomes of remote records that found no place here.

What is locked is locked in the order of a pull: links, arrivals, then the run that a part is added to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from syncline.connections import access
from syncline.contract import ConfigError
from syncline.ledger import resolve
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.registry import dataset
from syncline.runs.models import Run, RunPart
from syncline.syncs.engine import Direction
from syncline.syncs.models import Sync

from .parts import PERHAPS_OURS
from .start import pull_records

PERMISSION: Final = "syncline.resolve_arrival"
REFUSED: Final = (
    "You may not decide what becomes of these records. Ask somebody with the permission “Can decide what becomes of records"
    " that found no place” who may run this connection's syncs."
)
DOUBTFUL: Final = frozenset({"shared_here", "several_remote", "linked_to_other", "contradiction", PERHAPS_OURS})
"""Codes of records that might be one of ours, and might be records of their own."""


def may_decide(user: User, sync: Sync) -> bool:
    return user.has_perm(PERMISSION) and access.may_run(user, sync.connection)


def can_create(arrival: Arrival) -> bool:
    return arrival.code in DOUBTFUL and not arrival.local_key


def can_link(arrival: Arrival) -> bool:
    return arrival.state == Link.State.AMBIGUOUS and not arrival.local_key


def can_renew(arrival: Arrival) -> bool:
    """Whether what is wrong is that our record has gone."""
    return arrival.code == "gone_here"


def try_again(arrivals: Iterable[Arrival], user: User) -> list[Run]:
    """Fetches them at once; one run for each sync among them. ConfigError says why it cannot be done."""
    by_sync: dict[int, list[Arrival]] = {}
    for one in arrivals:
        _refuse_unless_allowed(user, one.sync)
        by_sync.setdefault(one.sync_id, []).append(one)
    with transaction.atomic():
        return [_fetched(those, user) for _, those in sorted(by_sync.items())]


def create(arrivals: Iterable[Arrival], user: User) -> list[Run]:
    """They are records of their own, whatever they have in common with others. ConfigError when that is not what is wrong."""
    found = list(arrivals)
    if other := next((one for one in found if not can_create(one)), None):
        raise ConfigError(
            f"{other.title or other.remote_id} cannot be created as a record of its own: {other.reason} Choose only records that"
            " might be one of ours."
        )
    with transaction.atomic():
        Arrival.objects.filter(pk__in=[one.pk for one in found]).update(create=True)
        return try_again(found, user)


def link_to(arrival: Arrival, local_key: str, user: User) -> Run:
    """It is this record of ours. ConfigError when there is none, or when it is linked to another one."""
    key = local_key.strip()
    _refuse_unless_allowed(user, arrival.sync)
    if not can_link(arrival):
        raise ConfigError(f"It cannot be linked: {arrival.reason}")
    _refuse_missing(arrival.sync, key)
    with transaction.atomic():
        resolve.link_by_hand(_link(arrival.sync, key), arrival.remote_id, str(user))
        _settle_pulled(arrival.sync, key)
        return _fetched([arrival], user)


def renew(arrival: Arrival, user: User) -> Run:
    """Our record has gone: the remote one is taken in anew."""
    _refuse_unless_allowed(user, arrival.sync)
    if not can_renew(arrival):
        raise ConfigError(f"Our record is not known to have gone: {arrival.reason}")
    with transaction.atomic():
        for link in _links(arrival.sync).filter(remote_id=arrival.remote_id):
            resolve.unlink(link, str(user))
        return _fetched([arrival], user)


def _refuse_unless_allowed(user: User, sync: Sync) -> None:
    if not may_decide(user, sync):
        raise ConfigError(REFUSED)


def _fetched(arrivals: list[Arrival], user: User) -> Run:
    """The run that fetches them, before everything else; no worker sees its part before the transaction ends."""
    ids = [one.remote_id for one in arrivals]
    return pull_records(arrivals[0].sync, ids, priority=RunPart.Priority.INTERACTIVE, user=user)


def _refuse_missing(sync: Sync, key: str) -> None:
    source = dataset(sync.dataset)
    try:
        there = bool(key) and source.rows((), "", sync.connection.owner).filter(**{source.key_field: key}).exists()
    except (ValueError, TypeError, ValidationError):  # not of the key's type
        there = False
    if not there:
        raise ConfigError(f"{source.info.label} has no record {key!r}. Give the key of one of ours.")


def _links(sync: Sync) -> QuerySet[Link]:
    return Link.objects.filter(connection=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset)


def _link(sync: Sync, key: str) -> Link:
    """ConfigError when the record is linked to another remote record, as far as that is still there."""
    link, _ = _links(sync).get_or_create(
        local_key=key, defaults={"connection_id": sync.connection_id, "object_type": sync.object_type, "dataset": sync.dataset}
    )
    if link.remote_id and link.state not in (Link.State.GONE, Link.State.MERGED):
        raise ConfigError(f"Our record {key} is linked to remote record {link.remote_id} already. Unlink it in the ledger first.")
    return link


def _settle_pulled(sync: Sync, key: str) -> None:
    """Where nothing is pushed, nothing waits to be delivered."""
    if sync.direction == Direction.PULL:
        _links(sync).filter(local_key=key).update(state=Link.State.DELIVERED)
