"""Removing what is old, a little at each tick."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import connection

BATCH: Final = 2000
TROUBLE_DAYS: Final = 90

_DELIVERIES = """
WITH old AS (
    SELECT d.id FROM syncline_delivery d
    WHERE d.received_at < now() - make_interval(days => %s) AND d.state <> 'stored'
      AND (d.received_at < now() - make_interval(days => %s) OR d.state <> 'unreadable')
      AND NOT EXISTS (
        SELECT 1 FROM syncline_inboxevent e WHERE e.delivery_id = d.id
        AND (e.state = 'waiting' OR e.state IN ('dead', 'unroutable') AND e.received_at > now() - make_interval(days => %s)))
    ORDER BY d.id LIMIT %s FOR UPDATE SKIP LOCKED
), events AS (
    DELETE FROM syncline_inboxevent e USING old WHERE e.delivery_id = old.id
)
DELETE FROM syncline_delivery d USING old WHERE d.id = old.id
"""

_KEYS = """
DELETE FROM syncline_inboxkey WHERE id IN (
    SELECT id FROM syncline_inboxkey WHERE at < now() - make_interval(days => %s) LIMIT %s FOR UPDATE SKIP LOCKED)
"""

_REFUSALS = "DELETE FROM syncline_refusal WHERE day < now() - make_interval(days => %s)"


def forget_old() -> int:
    """Gives how many deliveries went; those that led nowhere yet stay, what was given up stays longer."""
    days = settings.SYNCLINE_INBOX_DAYS
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [settings.SYNCLINE_INBOX_KEYS_DAYS, BATCH])
        cursor.execute(_REFUSALS, [TROUBLE_DAYS])
        longer = max(days, TROUBLE_DAYS)
        cursor.execute(_DELIVERIES, [days, longer, longer, BATCH])
        return int(cursor.rowcount)
