"""How far runs are: a run's own counters are final, those of an active one are still with its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Sum

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
    return found
