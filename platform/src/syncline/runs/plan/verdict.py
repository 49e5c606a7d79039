"""How a plan, or its application, went: the sentence on the run."""

from __future__ import annotations

from typing import Final

from syncline.runs.models import PlanRow, Run

PLANNED: Final = (
    ("created", "to create"),
    ("updated", "to update"),
    ("adopted", "to adopt"),
    ("removed", "to remove"),
    ("unchanged", "unchanged"),
    ("ambiguous", "need review"),
    ("rejected", "would be rejected"),
    ("excluded", "not in this sync"),
    ("gone", "deleted there"),
)


def planned(run: Run) -> str:
    """“Planned: 12 to create, 3 unchanged.”"""
    said = [f"{getattr(run, name):,} {what}" for name, what in PLANNED if getattr(run, name)]
    return f"Planned: {', '.join(said)}." if said else "Planned: nothing; the sync has no records."


def left_over(run: Run) -> list[tuple[int, str]]:
    """Of an application: rows that were not written; of other runs nothing."""
    if run.kind != Run.Kind.APPLY:
        return []
    rows = PlanRow.objects.filter(run=run.plan_id)
    return [
        (run.stale, "stale: changed since the plan"),
        (rows.filter(state=PlanRow.State.FAILED).count(), "not applied"),
    ]
