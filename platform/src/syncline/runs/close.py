"""Closes a run whose parts have all ended, and says honestly how it went."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from syncline.ledger.models import Candidate, ErrorGroup, Link

from .models import Run, RunPart
from .outcome import next_step

SUSPENDED = "suspended"
"""Code of the error groups that name rules which are not carried out."""

_QUIET_GROUPS = """
INSERT INTO syncline_errorgroup (run_id, cause, state, code, property, message, next_step, count, samples)
SELECT %s, md5('quiet' || state || code), state, code, '', min(reason), '', count(*),
       to_jsonb((array_agg(local_key ORDER BY id))[1:20])
FROM syncline_link
WHERE connection_id = %s AND object_type = %s AND dataset = %s AND last_run_id IS DISTINCT FROM %s
  AND state IN ('rejected', 'ambiguous', 'gone', 'merged')
GROUP BY state, code
ON CONFLICT (run_id, cause) DO NOTHING
"""


def close_run(run_id: int) -> Run | None:
    """Gives the run when this call closed it."""
    with transaction.atomic():
        run = Run.objects.select_for_update(of=("self",)).select_related("sync").filter(pk=run_id, state__in=Run.ACTIVE).first()
        if run is None or _still_going(run):
            return None
        run.parts.filter(state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED)
        totals = run.parts.aggregate(**{name: Sum(name) for name in Run.NAMES})
        for name in Run.NAMES:
            setattr(run, name, totals[name] or 0)
        _explain_quiet(run)
        run.state, run.reason = _verdict(run)
        run.finished_at = timezone.now()
        run.save()
        Candidate.objects.filter(run_id=run.pk).delete()
    for group in ErrorGroup.objects.filter(run_id=run.pk, next_step=""):
        ErrorGroup.objects.filter(pk=group.pk).update(next_step=next_step(group.code))
    return run


def _still_going(run: Run) -> bool:
    """A dead part ends the run; what is being carried out at the moment is waited for."""
    if run.parts.filter(state=RunPart.State.DEAD).exists():
        return run.parts.filter(state=RunPart.State.LEASED).exists()
    return run.parts.filter(state__in=RunPart.OPEN).exists()


def _explain_quiet(run: Run) -> None:
    sync = run.sync
    with connection.cursor() as cursor:
        cursor.execute(_QUIET_GROUPS, [run.pk, sync.connection_id, sync.object_type, sync.dataset, run.pk])


def _verdict(run: Run) -> tuple[str, str]:
    dead = run.parts.filter(state=RunPart.State.DEAD).order_by("id").first()
    if dead:
        return Run.State.FAILED, dead.last_error
    if run.parts.filter(state=RunPart.State.CANCELLED).exists():
        return Run.State.CANCELLED, "Cancelled by a person."
    uncertain = _uncertain(run)
    troubles = [
        (run.rejected, "rejected"),
        (run.ambiguous, "for review"),
        (run.gone, "deleted or merged remotely"),
        (run.waiting, "waiting for another record"),
        (uncertain, "with unknown outcome"),
        (ErrorGroup.objects.filter(run_id=run.pk, code=SUSPENDED).count(), "rules suspended"),
    ]
    said = [f"{number} {what}" for number, what in troubles if number]
    return (Run.State.PROBLEMS, ", ".join(said) + ".") if said else (Run.State.SUCCEEDED, "")


def _uncertain(run: Run) -> int:
    sync = run.sync
    return Link.objects.filter(
        connection_id=sync.connection_id,
        object_type=sync.object_type,
        dataset=sync.dataset,
        state__in=(Link.State.UNCERTAIN, Link.State.PENDING),
    ).count()
