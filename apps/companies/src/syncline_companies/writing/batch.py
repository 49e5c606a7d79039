"""One batch of changes: taken in their order, as if they came one by one, and stored together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

from syncline.contract import Code, DatasetInfo, LocalChange, Op, RecordError, Status, Value, Written

from . import tables
from .tables import M
from .values import Reader, Refused, required, same_text

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, User


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of a change once the batch is stored; the key of what is created is known only then."""

    token: str
    status: Status
    key: Callable[[], str | None]
    error: RecordError | None = None
    existing: Callable[[], str | None] = lambda: None

    def written(self) -> Written:
        error = replace(self.error, existing_id=self.error.existing_id or self.existing()) if self.error else None
        return Written(self.token, self.status, self.key(), error)


class Batch:
    """What all batches do alike. Each is used once."""

    def __init__(self, info: DatasetInfo, changes: Sequence[LocalChange], owner: AbstractBaseUser) -> None:
        self.info, self.changes, self.owner = info, changes, owner
        self.fields = {field.name: field for field in info.fields}
        self.required = [field for field in info.fields if field.required]

    def write(self) -> list[Written]:
        """One answer per change, in their order. ValueError when two have one token: their answers could not be told apart."""
        if len({change.token for change in self.changes}) < len(self.changes):
            raise ValueError("Two changes of a batch have the same token.")
        self.look_up()
        planned = [self.planned(change) for change in self.changes]
        self.store()
        return [one.written() for one in planned]

    def planned(self, change: LocalChange) -> Planned:
        ops: dict[Op, Callable[[LocalChange], Planned]] = {
            Op.CREATE: self.create, Op.UPDATE: self.update, Op.DELETE: self.delete,
        }  # fmt: skip
        try:
            self.check_fields(change.values)
            return ops[change.op](change)
        except Refused as refused:
            return Planned(change.token, Status.REJECTED, lambda: change.local_key, refused.error)

    def check_fields(self, values: Mapping[str, Value]) -> None:
        for name in values:
            field = self.fields.get(name)
            if field is None:
                raise Refused(Code.UNKNOWN_PROPERTY, f"{self.info.label} have no field {name}. Remove the rule for it.", name)
            if not field.writable:
                raise Refused(Code.READ_ONLY, f"{field.label} is worked out here, and cannot be written. Remove the rule.", name)

    def check_may_delete(self, permission: str) -> None:
        if not cast("User", self.owner).has_perm(permission):
            raise Refused(
                Code.OTHER,
                "The connection's owner may not delete this here. An administrator can give the permission "
                f"{permission}, or let the sync leave here what was deleted there.",
            )

    def keys(self) -> set[int]:
        return {key for change in self.changes if (key := tables.as_number(change.local_key)) is not None}

    def has(self, op: Op) -> bool:
        return any(change.op is op for change in self.changes)

    def look_up(self) -> None:
        """Locks and reads all that the plan needs."""
        raise NotImplementedError

    def create(self, change: LocalChange) -> Planned:
        raise NotImplementedError

    def update(self, change: LocalChange) -> Planned:
        raise NotImplementedError

    def delete(self, change: LocalChange) -> Planned:
        raise NotImplementedError

    def store(self) -> None:
        raise NotImplementedError


def missing(value: Value) -> bool:
    return value is None or value == () or (isinstance(value, str) and not value.strip())


def gone() -> Refused:
    return Refused(Code.NOT_FOUND, "This record is here no more. It was deleted, or never was.")


class RowBatch(Batch, Generic[M]):
    """For records that are one row each."""

    model: type[M]
    #: For fields whose column bears their name; the others are the subclass's.
    readers: Mapping[str, Reader]
    delete_permission: ClassVar[str]

    def look_up(self) -> None:
        self.rows = tables.locked(self.model, self.keys(), to_delete=self.has(Op.DELETE))
        self.blank = self.new()
        self.created: list[M] = []
        self.changed: dict[int, M] = {}
        self.removed: list[int] = []

    def create(self, change: LocalChange) -> Planned:
        for field in self.required:
            if missing(change.values.get(field.name)):
                raise required(field.name, field.label)
        row = tables.copied(self.blank)
        self.assign(row, change.values)
        self.created.append(row)
        return Planned(change.token, Status.CREATED, lambda: str(row.pk))

    def new(self) -> M:
        """What every new record begins with."""
        return self.model()

    def update(self, change: LocalChange) -> Planned:
        row = self.row(change)
        if not self.assign(row, change.values):
            return Planned(change.token, Status.UNCHANGED, lambda: change.local_key)
        self.changed[row.pk] = row
        return Planned(change.token, Status.UPDATED, lambda: change.local_key)

    def delete(self, change: LocalChange) -> Planned:
        row = self.row(change)
        self.check_may_delete(self.delete_permission)
        self.check_nothing_hangs_on(row)
        for rows in (self.rows, self.changed):
            rows.pop(row.pk, None)
        self.removed.append(row.pk)
        return Planned(change.token, Status.UPDATED, lambda: change.local_key)

    def row(self, change: LocalChange) -> M:
        found = self.rows.get(tables.as_number(change.local_key) or 0)
        if found is None:
            raise gone()
        return found

    def check_nothing_hangs_on(self, row: M) -> None:
        """Refuses to delete what others would miss."""

    def assign(self, row: M, values: Mapping[str, Value]) -> bool:
        """Whether anything became different; when it is refused, nothing did."""
        columns = self.columns(row, values)
        different = {name: value for name, value in columns.items() if getattr(row, name) != value}
        for name, value in different.items():
            setattr(row, name, value)
        return bool(different)

    def columns(self, row: M, values: Mapping[str, Value]) -> dict[str, Any]:
        found = {}
        for name in values.keys() & self.readers.keys():
            stored, value = getattr(row, name), values[name]
            if not (isinstance(stored, str) and same_text(stored, value)):
                found[name] = self.read(name, value, empty="" if isinstance(stored, str) else None)
        return found

    def read(self, name: str, value: Value, empty: str | None) -> Any:
        field = self.fields[name]
        if field.required and missing(value):
            raise required(name, field.label)
        return empty if value is None else self.readers[name](value, name)

    def store(self) -> None:
        if self.removed:
            self.model._default_manager.filter(pk__in=self.removed).delete()
        tables.update(self.model, list(self.changed.values()))
        tables.insert(self.model, self.created)
