"""A person decides which side of a field holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from syncline.connections import access
from syncline.contract import ConfigError
from syncline.ledger.models import Link
from syncline.ledger.pulled import Conflict
from syncline.runs.models import RunPart
from syncline.runs.start import push_keys
from syncline.syncs.models import Sync

from .start import pull_records

PERMISSION = "syncline.decide_conflict"

_THEIRS_SEEN = """
UPDATE syncline_link SET seen = jsonb_set(seen, ARRAY[%s], %s::jsonb), source_hash = NULL, revision = revision + 1 WHERE id = %s
"""

_OURS_KNOWN = """
UPDATE syncline_link SET delivered = jsonb_set(delivered, ARRAY[%s], %s::jsonb), seen = seen - '=', revision = revision + 1
WHERE id = %s
"""


def may_decide(user: User, sync: Sync) -> bool:
    return user.has_perm(PERMISSION) and access.may_run(user, sync.connection)


REFUSED = (
    "You may not decide conflicts. Ask somebody with the permission “Can decide which side's value holds” who may run"
    " this connection's syncs."
)


def decide(conflict: Conflict, side: str, user: User) -> None:
    """Ours is pushed, or theirs pulled, at once. Whatever was changed since it was looked at is compared anew.

    ConfigError says why it cannot be done.
    """
    if not decide_all([conflict], side, user):
        raise ConfigError("This conflict is decided already.")


def decide_all(conflicts: Iterable[Conflict], side: str, user: User) -> int:
    """The same for many at once, as one part for each sync among them; how many were still open."""
    wanted = [one.pk for one in conflicts]
    with transaction.atomic():
        # Links first, in order, as runs lock them; conflicts after them.
        links = Conflict.objects.filter(pk__in=wanted, decided_at=None).values("link")
        list(Link.objects.select_for_update().filter(pk__in=links).order_by("pk").values_list("pk"))
        still = Conflict.objects.select_for_update(of=("self",)).filter(pk__in=wanted, decided_at=None)
        found = list(still.select_related("sync__connection__owner", "sync__current", "link").order_by("pk"))
        for one in found:
            _decide(one, side, user)
        for sync in {one.sync_id: one.sync for one in found}.values():
            _carry_out(sync, [one.link for one in found if one.sync_id == sync.pk], side, user)
    return len(found)


def _decide(conflict: Conflict, side: str, user: User) -> None:
    if not may_decide(user, conflict.sync):
        raise ConfigError(REFUSED)
    _accept(conflict, side)
    conflict.decision, conflict.decided_at, conflict.decided_by = side, timezone.now(), user
    conflict.save(update_fields=["decision", "decided_at", "decided_by"])


def _accept(conflict: Conflict, side: str) -> None:
    """The other side's value counts as the one both had before."""
    here, there = conflict.prints
    sql, print_ = (_THEIRS_SEEN, there) if side == Conflict.Decision.HERE else (_OURS_KNOWN, here)
    with connection.cursor() as cursor:
        cursor.execute(sql, [conflict.property, f'"{print_}"', conflict.link_id])


def _carry_out(sync: Sync, links: Sequence[Link], side: str, user: User) -> None:
    if side == Conflict.Decision.HERE:
        push_keys(sync, sorted({link.local_key for link in links}), user=user)
    elif ids := sorted({link.remote_id for link in links if link.remote_id}):
        pull_records(sync, ids, priority=RunPart.Priority.INTERACTIVE, user=user)
