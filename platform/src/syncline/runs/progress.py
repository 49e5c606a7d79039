"""How far runs are: a run's own counters are final, those of an active one are still with its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count, Sum

from syncline.ledger.pulled import Conflict

from .models import Run, RunPart


def with_counts(runs: Iterable[Run]) -> list[Run]:
    """The same runs; active ones with what their parts have counted so far (one query, nothing is saved)."""
    found = list(runs)
    active = [run.pk for run in found if run.state in Run.ACTIVE]
    sums = RunPart.objects.filter(run__in=active).values("run").annotate(**{f"sum_{name}": Sum(name) for name in Run.NAMES})
    totals: dict[int, Any] = {row["run"]: row for row in sums} if active else {}
    for run in found:
        for name in Run.NAMES if run.pk in totals else ():
            setattr(run, name, totals[run.pk][f"sum_{name}"])
    _count_conflicts([run for run in found if run.state in Run.ACTIVE and run.conflicts])
    return found


def _count_conflicts(runs: Sequence[Run]) -> None:
    """Each once: the parts that pull and those that push may have met the same ones."""
    if not runs:
        return
    open_ = Conflict.objects.filter(run_id__in=[run.pk for run in runs], decided_at=None).order_by()
    numbers = dict(open_.values_list("run_id").annotate(Count("pk")))
    for run in runs:
        run.conflicts = numbers.get(run.pk, 0)
