"""A vendor in memory with faults on demand, and its connector: what a push meets without any network."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.contract import (
    Account,
    AssociationType,
    AuthMethod,
    Capability,
    Change,
    Choice,
    Code,
    ConnectorInfo,
    ConnectorSpec,
    Kind,
    ObjectType,
    Op,
    OutcomeUnknown,
    Page,
    Permanent,
    Property,
    PullRequest,
    PushResult,
    RecordError,
    RemoteRecord,
    Session,
    Status,
    Value,
    hookimpl,
)

PROPERTIES = (
    Property("name", "Name", schema={"maxLength": 20}),
    Property("email", "E-mail", Kind.EMAIL),
    Property("city", "City"),
    Property("tags", "Tags", Kind.SET, choices=tuple(Choice(c, c) for c in ("red", "green", "blue"))),
)
KEY = Property("own_key", "Our key", unique=True)


@dataclass
class Held:
    """A record as the vendor has it."""

    id: str
    properties: dict[str, Value]
    made: float
    merged_into: str = ""
    deleted: bool = False
    associated: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Call:
    op: Op
    keys: tuple[str, ...]
    changes: tuple[Change, ...]


Fault = Callable[["Vendor", ObjectType, Sequence[Change]], Sequence[PushResult] | None]


class Vendor:
    """`faults`: each is used for one push call, in order. `poison`: a call that writes this name is refused as a whole."""

    def __init__(self) -> None:
        self.own_key, self.lag, self.batch, self.unique_email = True, 0.0, 10, False
        self.tables: dict[str, dict[str, Held]] = {"people": {}, "teams": {}}
        self.removing: tuple[Op, ...] = (Op.ARCHIVE, Op.DELETE)
        self.faults: list[Fault] = []
        self.poison: set[str] = set()
        self.pushes: list[Call] = []
        self.pulls = self.fetches = 0
        self.lock, self.ids = threading.RLock(), itertools.count(1)

    def seed(self, table: str, **properties: Value) -> str:
        with self.lock:
            held = Held(f"r{next(self.ids)}", dict(properties), time.monotonic() - 1000)
            self.tables[table][held.id] = held
            return held.id

    def live(self, table: str = "people") -> list[Held]:
        return [h for h in self.tables[table].values() if not h.deleted and not h.merged_into]

    def by_name(self, table: str = "people") -> dict[Any, Held]:
        return {h.properties.get("name"): h for h in self.live(table)}

    def delete(self, table: str, id: str) -> None:
        self.tables[table][id].deleted = True

    def merge(self, table: str, *ids: str) -> str:
        """Into a new record with an id of its own."""
        new = self.seed(table, **{k: v for i in reversed(ids) for k, v in self.tables[table][i].properties.items()})
        for id_ in ids:
            self.tables[table][id_].merged_into = new
        return new

    def sent(self, *ops: Op) -> Counter[str]:
        """How often each local key was sent."""
        return Counter(k for call in self.pushes if not ops or call.op in ops for k in call.keys)

    def types(self) -> list[ObjectType]:
        known = (*PROPERTIES, KEY) if self.own_key else PROPERTIES
        sizes = dict.fromkeys((Op.CREATE, Op.UPDATE, Op.UPSERT, Op.ASSOCIATE, *self.removing), self.batch)
        return [
            ObjectType(
                key,
                key.title(),
                known,
                sizes,
                visibility_lag=self.lag,
                unique_key=KEY.name if self.own_key else None,
                associations=(AssociationType("teams"),) if key == "people" else (),
            )
            for key in self.tables
        ]

    def push(self, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        with self.lock:
            self.pushes.append(Call(changes[0].op, tuple(c.local_key for c in changes), tuple(changes)))
            assert len(changes) <= object_type.batch_sizes[changes[0].op]
            fault = self.faults.pop(0) if self.faults else None
            told = fault(self, object_type, changes) if fault else None
            return self.carry_out(object_type, changes) if told is None else told

    def carry_out(self, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
        with self.lock:
            if any(c.properties.get("name") in self.poison for c in changes):
                raise Permanent("The batch was refused: a name is not allowed.")
            return [self._one(self.tables[object_type.key], change) for change in changes]

    def _one(self, table: dict[str, Held], change: Change) -> PushResult:
        key, held = change.local_key, self._target(table, change)
        if change.remote_id and (held is None or held.deleted or held.merged_into):
            return PushResult(key, Status.REJECTED, error=RecordError(Code.NOT_FOUND, "There is no such record."))
        if held and change.op in (Op.ARCHIVE, Op.DELETE):
            held.deleted = True
            return PushResult(key, Status.UPDATED, held.id)
        if twin := self._twin(table, change, held):
            error = RecordError(Code.CONFLICT, f"The e-mail belongs to {twin}.", "email", existing_id=twin)
            return PushResult(key, Status.REJECTED, error=error)
        status = Status.UPDATED if held else Status.CREATED
        held = held or self._new(table)
        held.properties |= change.properties
        if change.unique_key:
            held.properties[KEY.name] = change.unique_key
        for to in change.associations:
            (held.associated.discard if to.remove else held.associated.add)(to.remote_id)
        return PushResult(key, status, held.id)

    def _new(self, table: dict[str, Held]) -> Held:
        held = Held(f"r{next(self.ids)}", {}, time.monotonic())
        table[held.id] = held
        return held

    def _target(self, table: dict[str, Held], change: Change) -> Held | None:
        if change.remote_id:
            return table.get(change.remote_id)
        keyed = (
            h for h in table.values() if not h.deleted and change.unique_key and h.properties.get(KEY.name) == change.unique_key
        )
        return next(keyed, None)

    def _twin(self, table: dict[str, Held], change: Change, held: Held | None) -> str:
        email = change.properties.get("email")
        if not self.unique_email or not email:
            return ""
        return next((h.id for h in table.values() if not h.deleted and h is not held and h.properties.get("email") == email), "")


def lost_answer(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> None:
    """Carried out, but the answer never came."""
    vendor.carry_out(object_type, changes)
    raise OutcomeUnknown


def lost_request(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> None:
    """Not carried out, which nobody can know."""
    raise OutcomeUnknown


def raising(error: Exception) -> Fault:
    def fault(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> None:
        raise error

    return fault


def answering(change: Callable[[list[PushResult]], list[PushResult]]) -> Fault:
    """Carried out, but the results are changed on their way."""
    return lambda vendor, object_type, changes: change(vendor.carry_out(object_type, changes))


class Fake(ConnectorSpec):
    vendor = Vendor()

    @hookimpl
    def describe(self) -> ConnectorInfo:
        able = {Capability.CHECK, Capability.DISCOVER, Capability.PUSH, Capability.FETCH, Capability.PULL}
        return ConnectorInfo("fake", "Fake", "1", ">=1,<2", frozenset(able), settings_schema={"type": "object"})

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod("none", "Nothing", "none")]

    @hookimpl
    def check(self, session: Session) -> Account:
        return Account("1", "Fake account")

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return self.vendor.types()

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        return self.vendor.push(object_type, changes)

    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        self.vendor.fetches += 1
        table, found = self.vendor.tables[object_type.key], {}
        for id_ in ids:
            held = table.get(id_)
            while held and held.merged_into:
                held = table[held.merged_into]
            if held and not held.deleted:
                found[id_] = RemoteRecord(held.id, {n: held.properties.get(n) for n in properties})
        return found

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        self.vendor.pulls += 1
        seen_before = time.monotonic() - self.vendor.lag
        records = [
            RemoteRecord(h.id, {n: h.properties.get(n) for n in request.properties})
            for h in self.vendor.live(object_type.key)
            if h.made <= seen_before
        ]
        for start in range(0, len(records), 100):
            yield Page(records[start : start + 100], str(start + 100))
        if not records:
            yield Page([], None)
