"""No saboteurs: honest connectors that offer less, or something else, than the example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from syncline.contract import AssociationType, ObjectType, Op, Session, hookimpl
from syncline_notes.connector import Notes


class LinkedElsewhere(Notes):
    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return [replace(one, associations=(AssociationType("books"),)) for one in super().discover(session)]


class PullsNothingSpecial(Notes):
    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return [self.plain(one) for one in super().discover(session)]

    def plain(self, one: ObjectType) -> ObjectType:
        kept = frozenset(Op) - {Op.ARCHIVE, Op.DELETE}
        sizes = {op: size for op, size in one.batch_sizes.items() if op in kept}
        return replace(
            one, batch_sizes=sizes, associations=(), pull_since=False, pull_archived=False, pull_history=False, follow=False
        )
