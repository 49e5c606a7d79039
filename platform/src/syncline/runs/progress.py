"""How far runs are: a run's own counters are final, those of an active one are still with its parts."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Sum

from .models import Run, RunPart


def with_counts(runs: Iterable[Run]) -> list[Run]:
    """The same runs; active ones with what their parts have counted so far (one query, nothing is saved)."""
    found = list(runs)
    active = [run.pk for run in found if run.state in Run.ACTIVE]
    sums = RunPart.objects.filter(run__in=active).values("run").annotate(**{f"sum_{name}": Sum(name) for name in Run.NAMES})
    totals = {row["run"]: row for row in sums} if active else {}
    for run in found:
        for name in Run.NAMES if run.pk in totals else ():
            setattr(run, name, totals[run.pk][f"sum_{name}"])
    return found


def share(run: Run) -> int | None:
    """Percent of the expected records that were read; None when it is not known how many there are."""
    if not run.expected:
        return None
    return min(100, run.read * 100 // run.expected)
