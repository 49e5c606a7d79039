"""What a run took from the outbox and did not carry out goes back there."""

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


def give_back(run_id: int) -> None:
    """Keys of parts that were not carried out wait in the outbox again; in the transaction that closes the run."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, [run_id, list(GIVEN_BACK)])


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
