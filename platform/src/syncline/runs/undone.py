"""What a run took from the outbox and did not carry out goes back there; what it was to fetch, the next pull fetches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection

from syncline.outbox.wanted import WANTS

from .models import RunPart

# What a person cancelled or what was given up has not been delivered; parts a person asked for are not ours to repeat.
_GIVE_BACK: Final = f"""
INSERT INTO syncline_outboxkey (sync_id, local_key)
SELECT DISTINCT r.sync_id, k.key FROM syncline_runpart p
JOIN syncline_run r ON r.id = p.run_id
JOIN syncline_sync s ON s.id = r.sync_id AND {WANTS}
CROSS JOIN LATERAL jsonb_array_elements_text(p.keys) AS k (key)
WHERE p.run_id = %s AND p.kind = 'keys' AND p.state IN ('dead', 'cancelled') AND p.priority = ANY(%s)
"""  # noqa: S608 - of constants
GIVEN_BACK: Final = (RunPart.Priority.CHANGE, RunPart.Priority.PUT_OFF)


# Events are settled and positions moved on once such a part is made. One that was given up is tried again in a day.
_FETCH_LATER: Final = """
INSERT INTO syncline_arrival AS a (sync_id, remote_id, state, code, reason, last_run_id)
SELECT r.sync_id, k.id, max(CASE WHEN p.state = 'dead' THEN 'rejected' ELSE 'pending' END), 'not_fetched',
       coalesce(nullif(max(p.last_error), ''), 'Its run ended before it was fetched; the next one takes it up.'), r.id
FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id
CROSS JOIN LATERAL jsonb_array_elements_text(p.keys) WITH ORDINALITY AS k (id, number)
WHERE p.run_id = %s AND p.kind = 'fetch' AND p.state IN ('dead', 'cancelled') AND length(k.id) <= 200
  AND k.number > coalesce(nullif(p.cursor, ''), '0')::bigint
GROUP BY r.sync_id, r.id, k.id ORDER BY k.id
ON CONFLICT (sync_id, remote_id) DO UPDATE SET
    state = CASE WHEN excluded.state = 'rejected' THEN excluded.state ELSE a.state END,
    code = CASE WHEN excluded.state = 'rejected' THEN excluded.code ELSE a.code END,
    reason = CASE WHEN excluded.state = 'rejected' THEN excluded.reason ELSE a.reason END,
    checked_at = CASE WHEN excluded.state = 'rejected' THEN now() ELSE least(a.checked_at, now() - interval '2 days') END
"""


def give_back(run_id: int) -> None:
    """Keys of parts that were not carried out wait in the outbox again, and remote records for the next pull; in the transaction
    that closes the run."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, [run_id, list(GIVEN_BACK)])
        cursor.execute(_FETCH_LATER, [run_id])


_PUT_BACK: Final = f"""
INSERT INTO syncline_outboxkey (sync_id, local_key)
SELECT r.sync_id, k.key FROM syncline_run r
JOIN syncline_sync s ON s.id = r.sync_id AND {WANTS}
CROSS JOIN unnest(%s::text[]) AS k (key)
WHERE r.id = %s AND r.kind = 'changes'
"""  # noqa: S608 - of constants


def put_back(run_id: int, keys: Sequence[str]) -> None:
    """Keys whose turn never came in a run of changes wait for the next one; a full pass sees them anyway."""
    with connection.cursor() as cursor:
        cursor.execute(_PUT_BACK, [list(keys), run_id])
