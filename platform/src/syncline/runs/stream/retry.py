"""A person decides about messages that could not be taken in: they are tried once more from what was stored, or let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F

from syncline.catalog import service as catalog
from syncline.connections import access
from syncline.contract import Code, ConfigError, Kind, LocalChange, Op, Status, Value, Written
from syncline.ledger import message_writer
from syncline.ledger.message_writer import Taken
from syncline.ledger.messages import DeadLetter
from syncline.ledger.records import Problem
from syncline.ledger.storable import storable
from syncline.ledger.writer import LONGEST
from syncline.registry import dataset
from syncline.runs.models import Run, RunPart
from syncline.runs.pull.local import Writer
from syncline.runs.start import check
from syncline.syncs.engine.inbound import InboundMapping
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled

from . import overtaken
from .receive import TOMBSTONE, UNREADABLE

PERMISSION: Final = "syncline.resolve_deadletter"
REFUSED: Final = (
    "You may not decide what becomes of these messages. Ask somebody with the permission “Can decide what becomes of messages"
    " that could not be taken in” who may run this connection's syncs."
)
LOT: Final = 200
HOPELESS: Final = frozenset({UNREADABLE, TOMBSTONE})
"""Codes of messages of which nothing could be read that a mapping could use."""

State = DeadLetter.State


@dataclass(slots=True)
class Tried:
    """What became of the messages; what was not open any more is in no count."""

    taken: int = 0
    unchanged: int = 0
    outside: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = [f"{self.taken:,} taken in"] if self.taken else []
        said += [f"{self.unchanged:,} said nothing that is not known here"] if self.unchanged else []
        said += [f"{self.outside:,} left out by the filter, and dismissed"] if self.outside else []
        if self.refused:
            said.append(f"{self.refused:,} refused again: {self.reasons[0]}")
        return f"{'; '.join(said) or 'Nothing was left to be tried'}."


def may_decide(user: User, sync: Sync) -> bool:
    return user.has_perm(PERMISSION) and access.may_run(user, sync.connection)


def can_retry(letter: DeadLetter) -> bool:
    return letter.state == State.OPEN and letter.code not in HOPELESS


def try_again(letters: Iterable[DeadLetter], user: User) -> Tried:
    """Maps and writes them anew, in their order. ConfigError says why it cannot be done."""
    found, tried = list(letters), Tried()
    _refuse_unless_allowed(found, user)
    if hopeless := next((one for one in found if one.code in HOPELESS), None):
        raise ConfigError(f"{hopeless.remote_id} holds nothing that could be mapped: {hopeless.reason} Dismiss it.")
    by_sync: dict[int, list[DeadLetter]] = {}
    for one in found:
        by_sync.setdefault(one.sync_id, []).append(one)
    for those in by_sync.values():
        _Retry(those[0].sync, user, tried).carry_out([one.pk for one in those])
    return tried


def dismiss(letters: Iterable[DeadLetter], user: User) -> int:
    """They are not taken in; what was stored of them stays for a while. Gives how many were open."""
    found = list(letters)
    _refuse_unless_allowed(found, user)
    mine = DeadLetter.objects.filter(pk__in=[one.pk for one in found], state=State.OPEN)
    return mine.update(state=State.DISMISSED)


def _refuse_unless_allowed(letters: Sequence[DeadLetter], user: User) -> None:
    for sync in {one.sync_id: one.sync for one in letters}.values():
        if not may_decide(user, sync):
            raise ConfigError(REFUSED)


class _Retry:
    """Of the messages of one sync, by the mapping that is current."""

    def __init__(self, sync: Sync, user: User, tried: Tried) -> None:
        check(sync, user)
        self._sync, self._tried, self._inbound = sync, tried, _inbound(sync)
        known = catalog.object_type(sync.connection, sync.object_type).properties
        self._numbers = frozenset(one.name for one in known if one.kind is Kind.NUMBER)
        self._writer = Writer(dataset(sync.dataset), sync.connection.owner)

    def carry_out(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), LOT):
            with transaction.atomic():
                self._lot(ids[start : start + LOT])

    def _lot(self, ids: Sequence[int]) -> None:
        """Whoever takes in the partition waits meanwhile, so that a younger message of a record is written after these."""
        chosen = DeadLetter.objects.filter(pk__in=ids)
        held = _Held.of(self._sync, set(chosen.values_list("partition", flat=True)))
        letters = list(chosen.filter(state=State.OPEN).order_by("pk").select_for_update(no_key=True))
        mapped = {one.remote_id: self._mapped(one) for one in letters}
        changes = [one for one in mapped.values() if isinstance(one, LocalChange)]
        answers = overtaken.write(self._writer, changes, letters)
        counts = Counter[str]()
        for letter in letters:
            counts[self._settled(letter, mapped[letter.remote_id], answers.get(letter.remote_id))] += 1
        DeadLetter.objects.bulk_update(letters, ["state", "code", "property", "reason"])
        held.note(self._sync, _taken(letters, answers), counts)

    def _mapped(self, letter: DeadLetter) -> LocalChange | Problem | None:
        """None for what the filter leaves out."""
        mapped = self._inbound.map(_values(letter.properties, self._numbers))
        if mapped.problems:
            first = mapped.problems[0]
            return Problem(first.code.value, first.message, property=first.target)
        if not mapped.included:
            return None
        return LocalChange(
            letter.remote_id,
            Op.UPSERT,
            values=mapped.properties,
            sequence=letter.sequence,
            at=letter.happened_at,
            event=letter.message_id,
        )

    def _settled(self, letter: DeadLetter, mapped: LocalChange | Problem | None, answer: Written | None) -> str:
        """Sets what became of it; gives the counter of the run in which it is."""
        if mapped is None:
            letter.state = State.DISMISSED
            self._tried.outside += 1
            return "excluded"
        problem = mapped if isinstance(mapped, Problem) else _problem(answer)
        if problem is not None:
            letter.code, letter.property, letter.reason = problem.code, problem.property, storable(problem.reason)[:LONGEST]
            self._tried.refused += 1
            self._tried.reasons.append(letter.reason)
            return AGAIN
        letter.state = State.TAKEN
        return self._counted(answer)

    def _counted(self, answer: Written | None) -> str:
        if answer is not None and answer.status is Status.UNCHANGED:
            self._tried.unchanged += 1
            return "unchanged"
        self._tried.taken += 1
        return "created" if answer is not None and answer.status is Status.CREATED else "updated"


AGAIN: Final = "again"
"""What was refused once more is in no counter: it was counted when it was refused first."""


def _inbound(sync: Sync) -> InboundMapping:
    if sync.current is None:
        raise ConfigError(f"The sync {sync.name} has no published mapping. Publish its draft first.")
    found = compiled(sync.current).inbound
    if found is None:
        raise ConfigError(f"The mapping of {sync.name} does not pull. Publish it again.")
    return found


def _values(stored: Mapping[str, Any], numbers: Collection[str]) -> dict[str, Value]:
    """As the connector gave them: JSON knows no tuples, and decimals are stored as texts."""
    return {name: _value(one, number=name in numbers) for name, one in stored.items()}


def _value(one: Any, *, number: bool) -> Value:
    if isinstance(one, list):
        return tuple(str(each) for each in one)
    if number and isinstance(one, str):
        try:
            return Decimal(one)
        except InvalidOperation:
            return one  # the mapping says what is wrong with it
    return one  # type: ignore[no-any-return]  # a text, a number, a truth value or nothing


def _problem(answer: Written | None) -> Problem | None:
    if answer is None or answer.status is not Status.REJECTED:
        return None
    if answer.error is None:
        return Problem(Code.OTHER.value, "Our app refused it and gave no reason.")
    return Problem(answer.error.code.value, answer.error.message, property=answer.error.property or "")


def _taken(letters: Sequence[DeadLetter], answers: Mapping[str, Written]) -> list[Taken]:
    found = []
    for letter in letters:
        answer = answers.get(letter.remote_id)
        if answer is not None and answer.status in (Status.CREATED, Status.UPDATED):
            found.append(Taken(letter.remote_id, letter.message_id, answer.local_key or "", answer.status.value))
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    """The run in whose counters these messages are, and its part that is held, None once the run has ended."""

    run_id: int
    part_id: int | None

    @classmethod
    def of(cls, sync: Sync, partitions: Collection[str]) -> _Held:
        parts = RunPart.objects.filter(
            run__sync=sync, run__state__in=Run.ACTIVE, partition__in=partitions, kind=RunPart.Kind.STREAM
        )
        held = list(parts.order_by("pk").select_for_update(of=("self",), no_key=True).values_list("run_id", "pk"))
        if held:
            return cls(*held[0])
        return cls(Run.objects.filter(sync=sync).order_by("-pk").values_list("pk", flat=True)[0], None)

    def note(self, sync: Sync, taken: Sequence[Taken], counts: Counter[str]) -> None:
        with connection.cursor() as cursor:
            message_writer.take(cursor, sync.pk, self.run_id, taken)
        added = {name: number for name, number in counts.items() if name != AGAIN}
        if not added:
            return
        more = {name: F(name) + number for name, number in {**added, "read": sum(added.values())}.items()}
        if self.part_id is not None:
            RunPart.objects.filter(pk=self.part_id).update(**more)
        else:
            Run.objects.filter(pk=self.run_id).update(**more)
