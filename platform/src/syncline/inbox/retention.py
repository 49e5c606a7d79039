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
        AND (e.state = 'waiting' OR e.state IN ('dead', 'unroutable') AND e.received_at > now() - make_interval(days => %s)
             OR EXISTS (SELECT 1 FROM syncline_outgoing o WHERE o.event_id = e.id AND o.state = 'waiting')))
    ORDER BY d.id LIMIT %s FOR UPDATE SKIP LOCKED
), passed_on AS (
    DELETE FROM syncline_outgoing o USING syncline_inboxevent e, old WHERE o.event_id = e.id AND e.delivery_id = old.id
), events AS (
    DELETE FROM syncline_inboxevent e USING old WHERE e.delivery_id = old.id
)
DELETE FROM syncline_delivery d USING old WHERE d.id = old.id
"""

_KEYS = """
DELETE FROM syncline_inboxkey WHERE id IN (
    SELECT id FROM syncline_inboxkey WHERE at < now() - make_interval(days => %s) LIMIT %s FOR UPDATE SKIP LOCKED)
"""

# The oldest are the first: no more are looked at than may go.
_TAKEN_IN = """
DELETE FROM syncline_incoming WHERE id IN (
    SELECT id FROM (SELECT id, at FROM syncline_incoming ORDER BY id LIMIT %s) oldest
    WHERE at < now() - make_interval(days => %s))
"""

_LETTERS = """
DELETE FROM syncline_deadletter WHERE id IN (
    SELECT id FROM syncline_deadletter WHERE state <> 'open' AND at < now() - make_interval(days => %s)
    LIMIT %s FOR UPDATE SKIP LOCKED)
"""

_REFUSALS = "DELETE FROM syncline_refusal WHERE day < now() - make_interval(days => %s)"


def forget_old() -> int:
    """Gives how many deliveries went; those that led nowhere yet stay, what was given up stays longer.

    What was passed on goes with its event, and what was taken in is as old as deliveries may be; messages that could not be
    taken in stay until somebody has decided about them.
    """
    days = settings.SYNCLINE_INBOX_DAYS
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [settings.SYNCLINE_INBOX_KEYS_DAYS, BATCH])
        cursor.execute(_REFUSALS, [TROUBLE_DAYS])
        cursor.execute(_TAKEN_IN, [BATCH, days])
        cursor.execute(_LETTERS, [days, BATCH])
        longer = max(days, TROUBLE_DAYS)
        cursor.execute(_DELIVERIES, [days, longer, longer, BATCH])
        return int(cursor.rowcount)
