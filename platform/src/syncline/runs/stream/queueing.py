"""From the inbox to the syncs that pass messages on, in the transaction that dispatches the events.

Whoever calls holds the lock of the events' connection and object, so that the messages of a key are queued in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection

from syncline.inbox.log import KEY
from syncline.syncs.models import Sync

SHARDS: Final = 4
"""Into so many the messages of a sync are divided by their keys; fixed, because the order of a key depends on it."""

# Of any length, and of another object none is the same: what is known by it is a digest.
_KEY = "md5(object_type || ' ' || remote_id)"

# `same`: a message that says what the one before it said; others carry no state of which that could be told. Compared is with the
# one that counts: of those passed on, the one with the highest id, for readers leave out what is older than it. `late`: older
# than it, since events are not committed in the order of their ids.
_QUEUE = f"""
WITH told AS (
    SELECT id, remote_id, {_KEY} AS about, md5(data::text) AS digest, kind = 'message' AND remote_id <> '' AND NOT replay AS tells
    FROM syncline_inboxevent WHERE id = ANY(%(ids)s)
), e AS (
    SELECT t.*, l.digest AS known, coalesce(t.id < l.event_id, false) AS late
    FROM told t LEFT JOIN syncline_latest l ON l.sync_id = %(sync)s AND l.key = t.about
), judged AS (
    SELECT id, remote_id, about, digest, late,
           tells AND NOT late AND coalesce(coalesce(lag(digest) OVER w, known) = digest, false) AS same
    FROM e WINDOW w AS (PARTITION BY about, late ORDER BY id)
), queued AS (
    INSERT INTO syncline_outgoing (sync_id, event_id, shard, key, same)
    SELECT %(sync)s, id, abs(hashtext(CASE WHEN remote_id = '' THEN id::text ELSE remote_id END)::bigint) %% %(shards)s,
           remote_id, same
    FROM judged ORDER BY id
    ON CONFLICT (sync_id, event_id) DO NOTHING
)
INSERT INTO syncline_latest (sync_id, key, digest, event_id)
SELECT DISTINCT ON (about) %(sync)s, about, digest, id FROM judged
WHERE remote_id <> '' AND NOT same AND NOT late
ORDER BY about, id DESC
ON CONFLICT (sync_id, key) DO UPDATE SET digest = excluded.digest, event_id = excluded.event_id
"""  # noqa: S608 - put together from the constants above

# Whoever forgets what was said waits for who queues the same again, or the other way round.
_HOLD = f"""
SELECT 1 FROM syncline_latest
WHERE sync_id = %(sync)s AND key IN (SELECT {_KEY} FROM syncline_inboxevent WHERE id = ANY(%(ids)s))
ORDER BY key FOR UPDATE
"""  # noqa: S608

_FORGET = f"""
DELETE FROM syncline_latest
WHERE sync_id = %(sync)s AND key IN (SELECT {_KEY} FROM syncline_inboxevent WHERE id = ANY(%(ids)s))
"""  # noqa: S608

_NOT_THE_SAME = """
UPDATE syncline_outgoing o SET same = false
FROM syncline_inboxevent said, syncline_inboxevent again
WHERE o.sync_id = %(sync)s AND o.state = 'waiting' AND o.same AND again.id = o.event_id AND said.id = ANY(%(ids)s)
  AND o.key = said.remote_id AND o.event_id > said.id AND again.object_type = said.object_type
"""


def passing_on(connection_id: int) -> list[int]:
    """The syncs that pass on what this connection is told."""
    found = Sync.objects.filter(source_id=connection_id, dataset=KEY, enabled=True, continuous=True, current__isnull=False)
    return list(found.order_by("pk").values_list("pk", flat=True))


def queue(sync_ids: Sequence[int], event_ids: Sequence[int]) -> None:
    with connection.cursor() as cursor:
        for sync_id in sync_ids:
            given: dict[str, Any] = {"sync": sync_id, "ids": list(event_ids), "shards": SHARDS}
            cursor.execute(_HOLD, given)
            cursor.execute(_QUEUE, given)


def unsaid(sync_id: int, event_ids: Sequence[int]) -> None:
    """These were not passed on: what says the same again says something new. In the transaction that settles them."""
    given: dict[str, Any] = {"sync": sync_id, "ids": list(event_ids)}
    with connection.cursor() as cursor:
        for statement in (_HOLD, _FORGET, _NOT_THE_SAME):
            cursor.execute(statement, given)
