"""What is linked, or found no place, and was not in a whole listing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import connection

from syncline.ledger.models import Link
from syncline.ledger.pulled import Listed
from syncline.runs.job import Job

from .pages import batched

ASKED = 500

_MISSING = """
SELECT l.remote_id FROM syncline_link l
WHERE l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.remote_id IS NOT NULL
  AND l.state NOT IN ('gone', 'merged', 'uncertain') AND l.created < %s AND l.remote_id > %s
  AND NOT EXISTS (SELECT 1 FROM syncline_listed s WHERE s.run_id = %s AND s.remote_id = l.remote_id)
ORDER BY l.remote_id LIMIT %s
"""


_UNPLACED = """
SELECT a.remote_id FROM syncline_arrival a
WHERE a.sync_id = %s AND a.local_key = '' AND a.since < %s AND a.remote_id > %s
  AND NOT EXISTS (SELECT 1 FROM syncline_listed s WHERE s.run_id = %s AND s.remote_id = a.remote_id)
ORDER BY a.remote_id LIMIT %s
"""


def ids(job: Job) -> Iterator[list[str]]:
    """What is linked, then what found no place here: the reason for that may be gone with the record."""
    scope = job.scope
    yield from _lots(job, _MISSING, [scope.connection_id, scope.object_type, scope.dataset])
    yield from _lots(job, _UNPLACED, [job.sync.pk])


def _lots(job: Job, sql: str, whose: Sequence[int | str]) -> Iterator[list[str]]:
    """What was found to be there all the same is passed over the next time round."""
    after, begun = "", job.run.started_at or job.run.created_at
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, [*whose, begun, after, job.run.pk, ASKED * 20])
            found = [row[0] for row in cursor.fetchall()]
        if not found:
            return
        yield from batched(found, ASKED)
        after = found[-1]


def empty_listing(job: Job) -> str:
    """Why nothing is taken for gone although nothing was listed; "" when something was."""
    scope = job.scope
    if Listed.objects.filter(run_id=job.run.pk).exists():
        return ""
    linked = Link.objects.filter(
        connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, remote_id__isnull=False
    )
    before = linked.filter(created__lt=job.run.started_at or job.run.created_at)  # not what the run has just pushed
    number = before.exclude(state__in=(Link.State.GONE, Link.State.MERGED)).count()
    if not number:
        return ""
    return (
        f"The account listed no {job.object_type.title} at all, although {number} of our records are linked to some."
        " None was taken for deleted. Check in the account whether the connection may still see them."
    )
