"""How a run that pulls went, for the sentence that closes it."""

from __future__ import annotations

from django.db import connection

from syncline.ledger.models import Candidate, ErrorGroup, Link
from syncline.ledger.pulled import Arrival, Conflict, Listed
from syncline.runs.models import Run, RunPart

from .undone import NOT_FETCHED

_QUIET = """
INSERT INTO syncline_errorgroup (run_id, cause, state, code, property, message, next_step, count, samples)
SELECT %s, %s || left(md5('quiet arrival' || state || code), 24), state, code, '', min(reason), '', count(*),
       to_jsonb((array_agg(remote_id ORDER BY id))[1:20])
FROM syncline_arrival WHERE sync_id = %s AND last_run_id IS DISTINCT FROM %s
GROUP BY state, code
ON CONFLICT (run_id, cause) DO NOTHING
"""


def explain_quiet(run: Run) -> None:
    """Records that still find no place and that this run had no reason to look at again."""
    with connection.cursor() as cursor:
        cursor.execute(_QUIET, [run.pk, ErrorGroup.PULLED, run.sync_id, run.pk])


def troubles(run: Run) -> list[tuple[int, str]]:
    """What needs somebody, with numbers; of all records of the sync, not just of those that this run met."""
    open_ = Arrival.objects.filter(sync_id=run.sync_id)
    states = dict.fromkeys((Link.State.REJECTED, Link.State.AMBIGUOUS, Link.State.WAITING, Link.State.EXCLUDED), 0)
    for state in open_.values_list("state", flat=True):
        states[Link.State(state)] = states.get(Link.State(state), 0) + 1
    open_conflicts = Conflict.objects.filter(sync_id=run.sync_id, decided_at__isnull=True)
    conflicts = open_conflicts.exclude(link__state__in=(Link.State.GONE, Link.State.MERGED)).count()
    return [
        (states[Link.State.REJECTED], "from there rejected here"),
        (states[Link.State.AMBIGUOUS], "from there for review"),
        (states[Link.State.WAITING], "from there waiting for another record"),
        (states[Link.State.EXCLUDED], "from there whose record here is gone"),
        (open_.filter(state=Link.State.PENDING, code=NOT_FETCHED).count(), "from there not fetched yet"),
        (conflicts, f"conflict{'' if conflicts == 1 else 's'} for review"),
    ]


def conflicts(run: Run) -> int:
    """Fields that this run left open: its pull and its push may have met the same ones."""
    return Conflict.objects.filter(run_id=run.pk, decided_at__isnull=True).count()


def remarks(run: Run) -> list[str]:
    """What else was wrong: a listing that came empty, records without ids."""
    found = ErrorGroup.objects.filter(run_id=run.pk, code__in=("empty_listing", "nameless"))
    return [one.message.rstrip(".") for one in found.order_by("code", "id")]


def tidy(run: Run) -> None:
    Listed.objects.filter(run_id=run.pk).delete()
    fetching = run.parts.filter(kind=RunPart.Kind.FETCH).values_list("pk", flat=True)
    Candidate.objects.filter(run_id__in=[-pk for pk in fetching]).delete()
