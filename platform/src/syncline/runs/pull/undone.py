"""What was to be fetched and was not: kept among the arrivals, from where the next pull of changes takes it up.

Nobody tells of these records a second time, and the position is past them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection
from django.db.models.functions import Now

from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.runs.models import Run, RunPart
from syncline.syncs.models import Sync

from .parts import AGAIN_AFTER

NOT_FETCHED: Final = "not_fetched"
LONGEST: Final = 200  # of a record's id
_ENDED: Final = "The run that was to fetch it ended before. The next one does."

# What a whole listing put off is met by the next one, which lists anew; what a person asked for is not ours to repeat. What was
# given up is tried again in a day, unless it was for the whole connection.
_KEEP: Final = """
INSERT INTO syncline_arrival AS a (sync_id, remote_id, state, code, reason, last_run_id)
SELECT r.sync_id, k.id, max(CASE WHEN p.state = 'dead' AND c.state = 'ok' THEN 'rejected' ELSE 'pending' END), %(code)s,
       coalesce(nullif(max(p.last_error), ''), %(reason)s), r.id
FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id
JOIN syncline_sync s ON s.id = r.sync_id JOIN syncline_connection c ON c.id = s.connection_id
CROSS JOIN LATERAL jsonb_array_elements_text(p.keys) WITH ORDINALITY AS k (id, number)
WHERE p.run_id = %(run)s AND p.kind = 'fetch' AND p.state IN ('dead', 'cancelled') AND p.priority < %(person)s
  AND r.kind <> 'removal' AND NOT (%(whole)s AND p.round > 0) AND length(k.id) <= %(longest)s
  AND k.number > CASE WHEN p.kind = 'fetch' AND p.cursor <> '' THEN p.cursor::bigint ELSE 0 END
GROUP BY r.sync_id, r.id, k.id ORDER BY k.id
ON CONFLICT (sync_id, remote_id) DO UPDATE SET
    state = CASE WHEN excluded.state = 'rejected' THEN excluded.state ELSE a.state END,
    code = CASE WHEN excluded.state = 'rejected' THEN excluded.code ELSE a.code END,
    reason = CASE WHEN excluded.state = 'rejected' THEN excluded.reason ELSE a.reason END,
    checked_at = CASE WHEN excluded.state = 'rejected' THEN now() ELSE least(a.checked_at, now() - interval '2 days') END
"""

_LIST_ANEW: Final = """
UPDATE syncline_checkpoint SET seen_until = NULL
WHERE sync_id = %s AND EXISTS (
    SELECT 1 FROM syncline_runpart
    WHERE run_id = %s AND kind = 'fetch' AND state IN ('dead', 'cancelled') AND round > 0)
"""

_WHOLE: Final = """
SELECT EXISTS (SELECT 1 FROM syncline_runpart WHERE run_id = %s AND kind = 'missing'),
       EXISTS (SELECT 1 FROM syncline_checkpoint WHERE run_id = %s AND whole)
"""


def keep(run: Run) -> None:
    """In the transaction that closes the run."""
    with connection.cursor() as cursor:
        cursor.execute(_WHOLE, [run.pk, run.pk])
        ended, going = cursor.fetchone()
        given = {
            "run": run.pk,
            "code": NOT_FETCHED,
            "longest": LONGEST,
            "reason": _ENDED,
            "person": int(RunPart.Priority.INTERACTIVE),
            "whole": ended or going,
        }
        cursor.execute(_KEEP, given)
        if ended:
            cursor.execute(_LIST_ANEW, [run.sync_id, run.pk])


def hand_on(run: Run) -> None:
    """What an ending run's parts were still to fetch, in the transaction that ends them."""
    for part in run.parts.select_for_update().filter(kind=RunPart.Kind.FETCH, state__in=RunPart.OPEN).order_by("pk"):
        put_by(run.sync, part.keys[int(part.cursor or 0) :], _ENDED)


def put_by(sync: Sync, remote_ids: Sequence[str], reason: str) -> None:
    """For a sync that cannot run now: its next run fetches these, whatever is known of them already."""
    ids = sorted({one for one in remote_ids if len(one) <= LONGEST})
    due = Now() - 2 * AGAIN_AFTER
    Arrival.objects.filter(sync=sync, remote_id__in=ids).update(checked_at=due)
    told = {"state": Link.State.PENDING, "code": NOT_FETCHED, "reason": reason}
    Arrival.objects.bulk_create([Arrival(sync=sync, remote_id=id_, **told) for id_ in ids], ignore_conflicts=True)
