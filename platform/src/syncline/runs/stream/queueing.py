"""From the inbox to the syncs that pass messages on, in the transaction that dispatches the events.

Whoever calls holds the lock of the events' connection and object, so that the messages of a key are queued in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection

from syncline.inbox.log import KEY
from syncline.syncs.models import Sync

SHARDS: Final = 4
"""Into so many the messages of a sync are divided by their keys; fixed, because the order of a key depends on it."""

# `same`: a message that says what the one before it said; others carry no state of which that could be told.
_QUEUE = """
WITH e AS (
    SELECT id, remote_id, kind = 'message' AND remote_id <> '' AND NOT replay AS tells, md5(data::text) AS digest,
           lag(md5(data::text)) OVER w AS before, row_number() OVER (PARTITION BY remote_id ORDER BY id DESC) AS from_last
    FROM syncline_inboxevent WHERE id = ANY(%(ids)s)
    WINDOW w AS (PARTITION BY remote_id ORDER BY id)
), queued AS (
    INSERT INTO syncline_outgoing (sync_id, event_id, shard, key, same)
    SELECT %(sync)s, e.id, abs(hashtext(CASE WHEN e.remote_id = '' THEN e.id::text ELSE e.remote_id END)::bigint) %% %(shards)s,
           e.remote_id, e.tells AND coalesce(coalesce(e.before, l.digest) = e.digest, false)
    FROM e LEFT JOIN syncline_latest l ON l.sync_id = %(sync)s AND l.key = e.remote_id
    ORDER BY e.id
    ON CONFLICT (sync_id, event_id) DO NOTHING
)
INSERT INTO syncline_latest (sync_id, key, digest, event_id)
SELECT %(sync)s, remote_id, digest, id FROM e WHERE from_last = 1 AND remote_id <> ''
ORDER BY remote_id
ON CONFLICT (sync_id, key) DO UPDATE SET digest = excluded.digest, event_id = excluded.event_id
"""


def passing_on(connection_id: int) -> list[int]:
    """The syncs that pass on what this connection is told."""
    found = Sync.objects.filter(source_id=connection_id, dataset=KEY, enabled=True, continuous=True, current__isnull=False)
    return list(found.order_by("pk").values_list("pk", flat=True))


def queue(sync_ids: Sequence[int], event_ids: Sequence[int]) -> None:
    with connection.cursor() as cursor:
        for sync_id in sync_ids:
            cursor.execute(_QUEUE, {"sync": sync_id, "ids": list(event_ids), "shards": SHARDS})
