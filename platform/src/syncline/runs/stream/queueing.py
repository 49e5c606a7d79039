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

# `same`: a message that says what the one before it said; others carry no state of which that could be told. Compared is with the
# one that counts: of those passed on, the one with the highest id, for readers leave out what is older than it. `late`: older
# than it, since events are not committed in the order of their ids.
_QUEUE = """
WITH e AS (
    SELECT i.id, i.remote_id, i.kind = 'message' AND i.remote_id <> '' AND NOT i.replay AS tells, md5(i.data::text) AS digest,
           l.digest AS known, coalesce(i.id < l.event_id, false) AS late
    FROM syncline_inboxevent i LEFT JOIN syncline_latest l ON l.sync_id = %(sync)s AND l.key = i.remote_id
    WHERE i.id = ANY(%(ids)s)
), judged AS (
    SELECT id, remote_id, digest, late,
           tells AND NOT late AND coalesce(coalesce(lag(digest) OVER w, known) = digest, false) AS same
    FROM e WINDOW w AS (PARTITION BY remote_id, late ORDER BY id)
), queued AS (
    INSERT INTO syncline_outgoing (sync_id, event_id, shard, key, same)
    SELECT %(sync)s, id, abs(hashtext(CASE WHEN remote_id = '' THEN id::text ELSE remote_id END)::bigint) %% %(shards)s,
           remote_id, same
    FROM judged ORDER BY id
    ON CONFLICT (sync_id, event_id) DO NOTHING
)
INSERT INTO syncline_latest (sync_id, key, digest, event_id)
SELECT DISTINCT ON (remote_id) %(sync)s, remote_id, digest, id FROM judged
WHERE remote_id <> '' AND NOT same AND NOT late
ORDER BY remote_id, id DESC
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
