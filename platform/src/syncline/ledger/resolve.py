"""What a person decides about a link that a push or a pull left for review."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from syncline.contract import ConfigError

from .models import Entry, Link

RESOLVED_BY_HAND = 0
"""Entries of decisions belong to no run."""

FRESH: Final = {"state": Link.State.PENDING, "delivered": {}, "associations": {}, "seen": {}}


def link_by_hand(link: Link, remote_id: str, who: str) -> None:
    """This record is that one: the next run writes all mapped properties to it. ConfigError when another record has it."""
    wanted = remote_id.strip()
    if not wanted:
        raise ConfigError("Give the id of the remote record.")
    try:
        with transaction.atomic():
            _change(link, f"Linked to {wanted} by {who}.", remote_id=wanted, **FRESH)
    except IntegrityError:
        owner = Link.objects.filter(connection=link.connection_id, object_type=link.object_type, remote_id=wanted).first()
        other = f"{owner.dataset} {owner.local_key}" if owner else "another record"
        raise ConfigError(f"Remote record {wanted} is linked to {other} already. Unlink that one first.") from None


def unlink(link: Link, who: str) -> None:
    """Forgets which remote record it is; nothing is sent. The next run matches it anew."""
    with transaction.atomic():
        _change(link, f"Unlinked by {who}.", remote_id=None, **FRESH)


def look_again(links: Iterable[Link], who: str) -> int:
    """The next run looks at these records again, whether or not anything changed; gives how many."""
    number = 0
    for link in links:
        with transaction.atomic():
            _change(link, f"To be looked at again, asked for by {who}.", state=Link.State.PENDING, refused_digest="")
        number += 1
    return number


_SENDING = """
SELECT EXISTS (
    SELECT 1 FROM syncline_link l
    JOIN syncline_sync s ON s.connection_id = l.connection_id AND s.object_type = l.object_type AND s.dataset = l.dataset
    JOIN syncline_run r ON r.sync_id = s.id AND r.state IN ('queued', 'running', 'paused')
    JOIN syncline_runpart p ON p.run_id = r.id AND p.state = 'leased' AND p.lease_until > now()
    WHERE l.id = %s AND l.state = 'uncertain' AND l.uncertain_at IS NULL)
"""


def _on_the_way(link: Link) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SENDING, [link.pk])
        return bool(cursor.fetchone()[0])


def _change(link: Link, message: str, **values: object) -> None:
    """By compare-and-set: a run that is at this record at the moment has the last word.

    While its write is on the way the answer is waited for: it may name a remote record that would be forgotten otherwise.
    """
    if _on_the_way(link):
        raise ConfigError("This record is being sent at this moment. Load the page again when its answer is there.")
    changed = Link.objects.filter(pk=link.pk, revision=link.revision).update(
        revision=F("revision") + 1, source_hash=None, code="", reason="", uncertain_op="", uncertain_at=None, **values
    )
    if not changed:
        raise ConfigError("A run has just changed this record. Load the page again and decide then.")
    remote_id = str(values.get("remote_id") or "")
    Entry.objects.create(
        link_id=link.pk, run_id=RESOLVED_BY_HAND, op="review", status="decided", remote_id=remote_id, message=message
    )
