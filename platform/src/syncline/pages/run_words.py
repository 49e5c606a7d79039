"""What the counters of a run mean, by the way its records travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncline.runs.models import Run
from syncline.runs.plan.verdict import PLANNED
from syncline.syncs.models import Sync

Words = tuple[tuple[str, str, str], ...]
Tile = tuple[str, str, str, int]
Direction = Sync.Direction

#: Counter → what it means, in the order of the run page: first the result, then what needs attention.
_PUSH: Final[tuple[Words, Words]] = (
    (
        ("created", "created", "new in the account"),
        ("updated", "updated", "changed there"),
        ("adopted", "adopted", "were there already, now linked"),
        ("unchanged", "unchanged", "nothing to write"),
        ("excluded", "excluded", "not part of this sync"),
        ("removed", "removed", "left the sync, taken away there"),
    ),
    (
        ("rejected", "rejected", "refused by the account or the mapping"),
        ("ambiguous", "for review", "several records fit"),
        ("gone", "gone", "deleted or merged remotely"),
        ("waiting", "waiting", "for another record"),
        ("withheld", "withheld", "removals that wait for approval"),
        ("stale", "stale", "changed there since they were planned"),
    ),
)
_PULL: Final[tuple[Words, Words]] = (
    (
        ("created", "created", "new here"),
        ("updated", "updated", "changed here"),
        ("adopted", "adopted", "were here already, now linked"),
        ("unchanged", "unchanged", "nothing to write"),
        ("excluded", "excluded", "not part of this sync, or not here any more"),
        ("removed", "deleted", "gone there, deleted here"),
    ),
    (
        ("rejected", "rejected", "refused by the mapping or our app"),
        ("ambiguous", "for review", "may be one of ours"),
        ("gone", "gone", "deleted or merged there; ours stay"),
        ("waiting", "waiting", "for another record"),
        ("withheld", "withheld", "deletions here that wait for approval"),
    ),
)
_TWO_WAY: Final[tuple[Words, Words]] = (
    (
        ("created", "created", "new on the other side"),
        ("updated", "updated", "changed here or there"),
        ("adopted", "adopted", "were on both sides, now linked"),
        ("unchanged", "unchanged", "nothing to write"),
        ("excluded", "excluded", "not part of this sync"),
        ("removed", "removed", "gone on one side, taken away on the other"),
    ),
    (
        ("conflicts", "conflicts", "fields that both sides changed"),
        ("rejected", "rejected", "refused on either side"),
        ("ambiguous", "for review", "several records fit"),
        ("gone", "gone", "deleted or merged there"),
        ("waiting", "waiting", "for another record"),
        ("withheld", "withheld", "removals that wait for approval"),
    ),
)
_RELAY: Final[tuple[Words, Words]] = (
    (
        ("created", "published", "acknowledged by the log"),
        ("unchanged", "unchanged", "said what the one before it said"),
        ("excluded", "excluded", "not part of this sync"),
    ),
    (("rejected", "refused", "by the log or the mapping"),),
)
_OF: Final = {Direction.PUSH.value: _PUSH, Direction.PULL.value: _PULL, Direction.TWO_WAY.value: _TWO_WAY}
_READ: Final = {Direction.PULL.value: "records of the account", Direction.TWO_WAY.value: "records of both sides"}


def results(run: Run) -> list[Tile]:
    return _tiles(run, _words(run)[0])


def troubles(run: Run) -> list[Tile]:
    return _tiles(run, _words(run)[1])


def read(run: Run) -> str:
    """What was read."""
    if _relays(run):
        return "messages that arrived here"
    return _READ.get(run.sync.direction, "records of the dataset")


def told(run: Run) -> str:
    """The counters in a line, without zeros."""
    return ", ".join(f"{number:,} {label}" for _, label, _, number in (*results(run), *troubles(run)) if number)


def _words(run: Run) -> tuple[Words, Words]:
    return _RELAY if _relays(run) else _OF.get(run.sync.direction, _PUSH)


def _relays(run: Run) -> bool:
    """Of continuous syncs, only those of messages push."""
    return run.kind == Run.Kind.STREAM and run.sync.direction == Direction.PUSH


def _tiles(run: Run, of: Sequence[tuple[str, str, str]]) -> list[Tile]:
    """Counters with what they mean; those of a plan tell what would happen."""
    would = dict(PLANNED) if run.kind == Run.Kind.PLAN else {}
    return [(name, would.get(name, label), "" if name in would else help_, getattr(run, name)) for name, label, help_ in of]
