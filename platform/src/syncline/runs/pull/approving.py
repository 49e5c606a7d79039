"""Deletions here that a run withheld and a person approved: each record is asked for once more, and what is back stays."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from syncline.runs.job import Job
from syncline.runs.models import Run, RunPart

from . import gone, parts, steps

_APPLIED = """
UPDATE syncline_planrow p SET state = 'applied' FROM syncline_link l
WHERE p.run_id = %s AND p.action = 'delete' AND p.state = 'planned' AND p.remote_id = ANY(%s)
  AND l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = p.local_key
  AND l.code = %s AND l.last_run_id = %s
"""

_REFUSED = """
UPDATE syncline_planrow p SET state = 'failed', reason = a.reason FROM syncline_arrival a
WHERE p.run_id = %s AND p.action = 'delete' AND p.state = 'planned' AND p.remote_id = ANY(%s)
  AND a.sync_id = %s AND a.remote_id = p.remote_id AND a.code = %s AND a.last_run_id = %s
"""

_STALE = """
UPDATE syncline_planrow SET state = 'stale', reason = 'It is in the account again, or another run has dealt with it.'
WHERE run_id = %s AND action = 'delete' AND state = 'planned' AND remote_id = ANY(%s)
"""


def add_parts(run: Run, withheld_by: Run) -> None:
    """Nothing, if that run withheld no deletions here."""
    parts.add_ids(run, gone.listed_for_deletion(withheld_by.pk), RunPart.Priority.INTERACTIVE)


def delete_listed(job: Job) -> None:
    """A part of an approved run: its keys are remote ids that another run withheld."""

    def told(cursor: CursorWrapper, ids: Sequence[str]) -> None:
        _tell(cursor, job, list(ids))

    steps.fetch_records(job, approved=True, told=told)


def _tell(cursor: CursorWrapper, job: Job, ids: list[str]) -> None:
    """What became of the rows, in the transaction that decides it."""
    listed, scope = job.run.plan_id, job.scope
    pair = (scope.connection_id, scope.object_type, scope.dataset)
    cursor.execute(_APPLIED, (listed, ids, *pair, gone.REMOVED.code, job.run.pk))
    cursor.execute(_REFUSED, [listed, ids, job.sync.pk, gone.KEPT, job.run.pk])
    cursor.execute(_STALE, [listed, ids])
