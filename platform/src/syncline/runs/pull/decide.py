"""A person decides which side of a field holds."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from syncline.connections import access
from syncline.contract import ConfigError
from syncline.ledger.models import Link
from syncline.ledger.pulled import Conflict
from syncline.runs.models import RunPart
from syncline.runs.start import push_keys

from .start import pull_records

PERMISSION = "syncline.decide_conflict"

_THEIRS_SEEN = """
UPDATE syncline_link SET seen = jsonb_set(seen, ARRAY[%s], %s::jsonb), source_hash = NULL, revision = revision + 1 WHERE id = %s
"""

_OURS_KNOWN = """
UPDATE syncline_link SET delivered = jsonb_set(delivered, ARRAY[%s], %s::jsonb), seen = seen - '=', revision = revision + 1
WHERE id = %s
"""


def may_decide(user: User, conflict: Conflict) -> bool:
    return user.has_perm(PERMISSION) and access.may_run(user, conflict.sync.connection)


def decide(conflict: Conflict, side: str, user: User) -> None:
    """Ours is pushed, or theirs pulled, at once. Whatever was changed since it was looked at is compared anew.

    ConfigError says why it cannot be done.
    """
    if not may_decide(user, conflict):
        raise ConfigError(
            "You may not decide conflicts. Ask somebody with the permission “Can decide which side's value holds” who may run"
            " this connection's syncs."
        )
    with transaction.atomic():
        Link.objects.select_for_update().get(pk=conflict.link_id)  # first, as pulls and pushes do
        locked = (
            Conflict.objects.select_for_update(of=("self",)).select_related("sync__connection__owner", "link").get(pk=conflict.pk)
        )
        if locked.decided_at is not None:
            raise ConfigError("This conflict is decided already.")
        _accept(locked, side)
        locked.decision, locked.decided_at, locked.decided_by = side, timezone.now(), user
        locked.save(update_fields=["decision", "decided_at", "decided_by"])
        _carry_out(locked, side, user)


def _accept(conflict: Conflict, side: str) -> None:
    """The other side's value counts as the one both had before."""
    here, there = conflict.prints
    sql, print_ = (_THEIRS_SEEN, there) if side == Conflict.Decision.HERE else (_OURS_KNOWN, here)
    with connection.cursor() as cursor:
        cursor.execute(sql, [conflict.property, f'"{print_}"', conflict.link_id])


def _carry_out(conflict: Conflict, side: str, user: User) -> None:
    link, sync = conflict.link, conflict.sync
    if side == Conflict.Decision.HERE:
        push_keys(sync, [link.local_key], user=user)
    elif link.remote_id:
        pull_records(sync, [link.remote_id], priority=RunPart.Priority.INTERACTIVE)
