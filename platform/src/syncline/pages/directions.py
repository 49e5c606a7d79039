"""What a sync's page says and asks, by the way its records travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncline.runs.models import Run
from syncline.syncs.engine.content import Owner
from syncline.syncs.models import Sync

Direction, Policy = Sync.Direction, Sync.DeletePolicy

HELP: Final = (
    "Push: records here are written there. Pull: records there are written here, if the app takes them. Two-way: both; once it is"
    " saved, each rule says whose value holds. Another direction counts once the mapping is published again."
)


OWNERS: Final = [
    (Owner.HERE.value, "Here"),
    (Owner.THERE.value, "There"),
    (Owner.NEWEST.value, "Newest"),
    (Owner.REVIEW.value, "Review"),
]
"""Short, as columns are narrow; the table's note says what they mean."""


@dataclass(frozen=True, slots=True)
class Words:
    """`labels`, `help`: of the form's fields, where they are others than those of a push; `without`: fields that mean nothing."""

    labels: Mapping[str, str] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    policies: tuple[tuple[str, str], ...] = tuple(Policy.choices)


_EVERYTHING: Final = "When everything there is listed and compared, e.g. 0 3 * * *; empty means by hand."

WORDS: Final[Mapping[str, Words]] = {
    Direction.PUSH: Words(),
    Direction.PULL: Words(
        labels={"changes_cron": "Pull changes (cron, UTC)", "delete_policy": "When a record was deleted there"},
        help={
            "filter": "A CEL expression over the properties there; only records for which it is true are pulled.",
            "cron": _EVERYTHING,
            "changes_cron": "When only what changed there since the last time is pulled, e.g. */5 * * * *; empty means never.",
            "delete_policy": "In mirror mode: what happens to our record. Many at once wait for a person.",
        },
        without=frozenset({"segment", "gone_policy", "at_once"}),
        policies=((Policy.IGNORE.value, "Leave ours as it is"), (Policy.DELETE.value, "Delete ours too")),
    ),
    Direction.TWO_WAY: Words(
        labels={"changes_cron": "Carry changes over (cron, UTC)", "delete_policy": "When a record is gone on one side"},
        help={
            "cron": "When everything on both sides is compared, e.g. 0 3 * * *; empty means by hand.",
            "changes_cron": "When only what changed on either side is carried over, e.g. */5 * * * *; empty means never.",
            "delete_policy": "In mirror mode: what happens to the record on the other side. Ours is deleted where theirs would be"
            " archived or deleted; many at once wait for a person.",
        },
    ),
}


def words(sync: Sync) -> Words:
    return WORDS.get(sync.direction, WORDS[Direction.PUSH])


def fit(fields: Mapping[str, Any], sync: Sync) -> None:
    """Gives the form's fields the words of the sync's direction."""
    said = words(sync)
    for name, one in fields.items():
        one.label = said.labels.get(name, one.label)
        one.help_text = said.help.get(name, one.help_text)
    if "delete_policy" in fields:
        known = [value for value, _ in said.policies]
        stale = [(sync.delete_policy, sync.get_delete_policy_display())] if sync.delete_policy not in known else []
        fields["delete_policy"].choices = [*said.policies, *stale]


def pulls(sync: Sync) -> bool:
    return sync.direction != Direction.PUSH


def pushes(sync: Sync) -> bool:
    return sync.direction != Direction.PULL


def kind(run: Run) -> str:
    """What kind of run it is, in words."""
    if run.kind != Run.Kind.CHANGES or run.sync.direction == Direction.PUSH:
        return run.get_kind_display()
    return "what changed there" if run.sync.direction == Direction.PULL else "what changed on either side"
