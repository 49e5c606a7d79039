"""The vendor in memory with definitions that it holds records to, and that change at a given moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from syncline.contract import (
    Change,
    Choice,
    Code,
    Kind,
    ObjectType,
    Property,
    PushResult,
    RecordError,
    Status,
    SynclineError,
)

from .vendor import KEY, PROPERTIES, Vendor

NICK = Property("nick", "Nick name")
SIZE = Property("size", "Size", Kind.CHOICE, choices=tuple(Choice(c, c.title()) for c in ("small", "large", "huge")))
SIZES = ("small", "large", "huge")


class Account(Vendor):
    """Refuses what its definitions do not allow, record by record.

    `at`: what happens before the push call of this number is carried out. `cannot_tell`: raised when it is asked what it offers.
    `stubborn`: a value that it refuses for no reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = {one.name: one for one in (*PROPERTIES, NICK, SIZE, KEY)}
        self.discoveries = 0
        self.refusals: dict[Code, int] = {}
        self.cannot_tell: SynclineError | None = None
        self.at: dict[int, Any] = {}
        self.stubborn = ""

    def types(self) -> list[ObjectType]:
        self.discoveries += 1
        if self.cannot_tell:
            raise self.cannot_tell
        properties = tuple(self.known.values())
        return [replace(one, properties=properties) for one in super().types()]

    def change(self, name: str, **more: Any) -> None:
        with self.lock:
            self.known[name] = replace(self.known[name], **more)

    def lose(self, name: str) -> None:
        with self.lock:
            del self.known[name]
            for held in self.tables["people"].values():
                held.properties.pop(name, None)

    def without_choice(self, name: str, *gone: str) -> None:
        self.change(name, choices=tuple(one for one in self.known[name].choices if one.value not in gone))

    def carry_out(self, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
        with self.lock:
            if moment := self.at.pop(len(self.pushes), None):
                moment()
            refused = {one.local_key: error for one in changes if (error := self._refusal(one))}
            for error in refused.values():
                self.refusals[error.code] = self.refusals.get(error.code, 0) + 1
            written = super().carry_out(object_type, [one for one in changes if one.local_key not in refused])
            return [*written, *(PushResult(key, Status.REJECTED, error=error) for key, error in refused.items())]

    def _refusal(self, change: Change) -> RecordError | None:
        for name, value in change.properties.items():
            found = self.known.get(name)
            if found is None:
                return RecordError(Code.UNKNOWN_PROPERTY, f"There is no {name}.", name)
            if found.read_only:
                return RecordError(Code.READ_ONLY, f"{name} cannot be written.", name)
            if found.kind is Kind.CHOICE and value is not None and value not in {one.value for one in found.choices}:
                return RecordError(Code.INVALID_CHOICE, f"{value} is not offered.", name)
            if self.stubborn and value == self.stubborn:
                return RecordError(Code.INVALID_VALUE, f"{value} is not taken.", name)
            if found.kind is Kind.NUMBER and isinstance(value, str):
                return RecordError(Code.INVALID_VALUE, f"{value} is no number.", name)
        return None
