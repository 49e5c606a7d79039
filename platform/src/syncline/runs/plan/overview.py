"""A plan for people: totals by action, and each row as lines of there → planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When

from syncline.runs.models import PlanRow, Run
from syncline.syncs.engine.content import WriteMode
from syncline.syncs.engine.problems import shorten

from .rereading import outstanding

LONGEST = 120
Action = PlanRow.Action

#: In the order in which they are shown, each with what it means.
MEANINGS: Final = {
    Action.CREATE: "new in the account",
    Action.UPDATE: "some fields are written",
    Action.ADOPT: "are there already, would be linked and written",
    Action.REMOVE: "left the sync",
    Action.BLOCKED: "a write mode keeps what is there",
    Action.UNCHANGED: "nothing to write",
    Action.AMBIGUOUS: "a person has to decide",
    Action.REJECTED: "the mapping gives no valid value",
    Action.EXCLUDED: "left out by filter or mode",
    Action.GONE: "deleted or merged there",
}
MODES: Final = {WriteMode.IF_EMPTY: "written only if empty there", WriteMode.IF_NEW: "written only in new records"}


@dataclass(frozen=True, slots=True)
class Total:
    """`quiet`: records about which nothing changed since the last run; they are counted, not listed."""

    action: str
    label: str
    meaning: str
    number: int
    stale: int


@dataclass(frozen=True, slots=True)
class Line:
    """One property. `note`: why it stays, when it does."""

    name: str
    there: str
    planned: str
    note: str = ""


def totals(plan: Run) -> list[Total]:
    """Of the rows, by action; without those that no row has."""
    counted = PlanRow.objects.filter(run=plan).values("action").order_by()
    found = {
        row["action"]: row for row in counted.annotate(n=Count("id"), stale=Count("id", filter=Q(state=PlanRow.State.STALE)))
    }
    return [
        Total(action.value, action.label, meaning, found[action]["n"], found[action]["stale"])
        for action, meaning in MEANINGS.items()
        if action in found
    ]


def quiet(plan: Run) -> int:
    """Unchanged records that have no row."""
    return max(0, plan.unchanged - PlanRow.objects.filter(run=plan, action__in=(Action.UNCHANGED, Action.BLOCKED)).count())


def left(plan: Run) -> dict[str, int]:
    """What is still to be applied, by action."""
    return dict(outstanding(plan.pk).values_list("action").order_by().annotate(Count("id")))


def sample(plan: Run, number: int) -> list[PlanRow]:
    """About so many rows, some of each action that is there; those with nothing to write last."""
    there = [total.action for total in totals(plan)]
    each = max(1, -(-number // len(there))) if there else 0
    found = [row for action in there for row in rows(plan, action=action)[:each]]
    return sorted(found, key=lambda row: row.action == Action.UNCHANGED)[:number]


def rows(plan: Run, *, action: str = "", state: str = "") -> QuerySet[PlanRow]:
    """In the order of MEANINGS, so that what would be written comes first."""
    order = Case(
        *(When(action=one, then=Value(place)) for place, one in enumerate(MEANINGS)),
        default=Value(len(MEANINGS)),
        output_field=IntegerField(),
    )
    found = PlanRow.objects.filter(run=plan, **({"action": action} if action else {}), **({"state": state} if state else {}))
    return found.order_by("id") if action else found.order_by(order, "id")


def lines(row: PlanRow) -> list[Line]:
    """What takes the place of something first."""
    written = sorted(_written(row), key=lambda line: (not line.there, line.name))
    return [*written, *_kept(row), *_associated(row)]


def _written(row: PlanRow) -> Iterator[Line]:
    for name, (there, value) in row.changes.items():
        yield Line(name, shown(there), shown(value))


def _kept(row: PlanRow) -> Iterator[Line]:
    for name, (there, value, mode) in row.kept.items():
        yield Line(name, shown(there), shown(value), MODES.get(WriteMode(mode), str(mode)))


def _associated(row: PlanRow) -> Iterator[Line]:
    for object_type, one in row.associations.items():
        if one["add"] or one["remove"]:
            yield Line(f"association with {object_type}", shown(one["remove"]), shown(one["add"]))


def shown(value: Any) -> str:
    """A value as text, cut; "" for none."""
    if value is None:
        return ""
    if isinstance(value, list):
        return shorten(", ".join(map(str, value)), LONGEST)
    if isinstance(value, bool):
        return "true" if value else "false"
    return shorten(value, LONGEST)
