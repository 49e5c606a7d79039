"""One account: its objects and records. Every write is checked as Salesforce does, and told to whoever listens."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..ids import full
from .definitions import Field, ObjectDef, definitions
from .refusals import ApiError, RecordRefused, no_column, not_found

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ORG_ID = full("00D000000000001")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
Record = dict[str, Any]
Listener = Callable[[str, Record, str, Record], None]
"""Object, record, CREATE, UPDATE, DELETE or UNDELETE, and for an UPDATE the record as it was."""


class Clock:
    def __init__(self) -> None:
        self._added = 0.0
        self._held: float | None = None

    def now(self) -> float:
        return time.time() + self._added if self._held is None else self._held

    @contextmanager
    def held(self) -> Iterator[None]:
        """All that happens meanwhile happens at one moment."""
        self._held = self.now()
        try:
            yield
        finally:
            self._held = None

    def advance(self, seconds: float) -> float:
        self._added += seconds
        return self.now()


def stamp(seconds: float) -> str:
    """Whole seconds, as Salesforce keeps them."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


@dataclass(slots=True)
class Org:
    clock: Clock = field(default_factory=Clock)
    objects: dict[str, ObjectDef] = field(default_factory=definitions)
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    unique: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """(object, field) → value in lower case → id of the living record."""
    locked: set[str] = field(default_factory=set)
    duplicate_rules: dict[str, str] = field(default_factory=dict)
    """Object → field whose values no two records may share."""
    listeners: list[Listener] = field(default_factory=list)
    counter: int = 0

    def __post_init__(self) -> None:
        self.records = {name: {} for name in self.objects}
        told = {"Name": "Sandbox", "OrganizationType": "Developer Edition", "InstanceName": "SBX1", "IsSandbox": True}
        self.records["Organization"][ORG_ID] = {**self._blank("Organization"), "Id": ORG_ID, **told}

    def definition(self, name: str) -> ObjectDef:
        if name not in self.objects:
            raise not_found()
        return self.objects[name]

    def create(self, kind: str, values: Record) -> str:
        given = self._checked(kind, values, creating=True)
        self._duplicates(kind, given)
        self.counter += 1
        record_id = full(self.objects[kind].prefix + _number(self.counter, 12))
        record = {**self._blank(kind), **given, "Id": record_id}
        self._indexed(kind, record_id, given, {})
        self.records[kind][record_id] = record
        self._touch(kind, record, "CREATE", {})
        return record_id

    def update(self, kind: str, record_id: str, values: Record) -> None:
        record = self._living(kind, record_id)
        given = self._checked(kind, values, creating=False)
        self._indexed(kind, record["Id"], given, record)
        before = dict(record)
        record.update(given)
        self._touch(kind, record, "UPDATE", before)

    def upsert(self, kind: str, name: str, values: Record) -> tuple[str, bool]:
        held = self.definition(kind).fields.get(name)
        if held is None or not held.unique:
            raise not_found()
        given = str(values.get(name) or "")
        if not given:
            raise RecordRefused("MISSING_ARGUMENT", f"{name} not specified", name)
        known = self.unique.get((kind, name), {}).get(given.lower())
        if known is None:
            return self.create(kind, values), True
        self.update(kind, known, values)
        return known, False

    def delete(self, record_id: str, master: str | None = None) -> None:
        kind = self.kind_of(record_id)
        record = self._living(kind, record_id)
        self._indexed(kind, record["Id"], {name: None for name in record if record[name] is not None}, record)
        record["IsDeleted"] = True
        if master:
            record["MasterRecordId"] = master
        self._touch(kind, record, "DELETE", {})

    def undelete(self, record_id: str) -> None:
        record = self.records[self.kind_of(record_id)][full(record_id)]
        record["IsDeleted"] = False
        self._touch(self.kind_of(record_id), record, "UNDELETE", {})

    def merge(self, kind: str, into: str, gone: str) -> None:
        survivor = self._living(kind, into)
        self.delete(gone, master=survivor["Id"])
        self._touch(kind, survivor, "UPDATE", dict(survivor))

    def kind_of(self, record_id: str) -> str:
        """By the first three letters, as Salesforce does."""
        kind = next((one.name for one in self.objects.values() if one.prefix == record_id[:3]), "")
        if not kind or not full(record_id):
            raise RecordRefused("MALFORMED_ID", f"malformed id {record_id}", "Id")
        return kind

    def find(self, kind: str, record_id: str) -> Record | None:
        record = self.records[kind].get(full(record_id))
        return record if record and not record["IsDeleted"] else None

    def _blank(self, kind: str) -> Record:
        return {one.name: False if one.type == "boolean" else None for one in self.objects[kind].fields.values()}

    def _living(self, kind: str, record_id: str) -> Record:
        record = self.records[kind].get(full(record_id))
        if record is None:
            raise RecordRefused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if record["IsDeleted"]:
            raise RecordRefused("ENTITY_IS_DELETED", "entity is deleted")
        if record["Id"] in self.locked:
            raise RecordRefused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        return record

    def _touch(self, kind: str, record: Record, change: str, before: Record) -> None:
        now = stamp(self.clock.now())
        record |= {"SystemModstamp": now, "LastModifiedDate": now} | ({"CreatedDate": now} if change == "CREATE" else {})
        for listener in self.listeners:
            listener(kind, record, change, before)

    def _indexed(self, kind: str, record_id: str, given: Record, before: Record) -> None:
        """Refuses a value that another living record holds; else that of the record is known from now on."""
        names = [one.name for one in self.objects[kind].fields.values() if one.unique and one.name in given]
        for name in names:
            holder = self.unique.setdefault((kind, name), {}).get(str(given[name]).lower())
            if given[name] is not None and holder not in (None, record_id):
                said = f"duplicate value found: {name} duplicates value on record with id: {holder}"
                raise RecordRefused("DUPLICATE_VALUE", said)
        for name in names:
            held = self.unique[kind, name]
            held.pop(str(before.get(name)).lower(), None)
            if given[name] is not None:
                held[str(given[name]).lower()] = record_id

    def _duplicates(self, kind: str, given: Record) -> None:
        name = self.duplicate_rules.get(kind)
        if not name or not given.get(name):
            return
        for record in self.records[kind].values():
            if not record["IsDeleted"] and record[name] == given[name]:
                match = {"matchRecords": [{"record": {"attributes": {"type": kind}, "Id": record["Id"]}}]}
                said = "Use one of these records?"
                raise RecordRefused("DUPLICATES_DETECTED", said, duplicateResult={"allowSave": False, "matchResults": [match]})

    def _checked(self, kind: str, values: Record, *, creating: bool) -> Record:
        fields = self.definition(kind).fields
        if unknown := [name for name in values if name not in fields]:
            raise no_column(unknown[0], kind)
        given = {name: self._value(fields[name], value) for name, value in values.items()}
        if missing := [n for n, f in fields.items() if f.required and (creating or n in given) and given.get(n) is None]:
            raise RecordRefused("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", *missing)
        return given

    def _value(self, held: Field, value: Any) -> Any:
        if not held.writable:
            said = f"Unable to create/update fields: {held.name}. Please check the security settings of this field"
            raise RecordRefused("INVALID_FIELD_FOR_INSERT_UPDATE", said, held.name)
        if value is None or value == "":
            return _nothing(held)
        value = _typed(held, value)
        for problem in self._problems(held, value):
            raise problem
        return value

    def _problems(self, held: Field, value: Any) -> Iterator[RecordRefused]:
        if held.length and len(str(value)) > held.length:
            said = f"{held.name}: data value too large: {str(value)[:50]} (max length={held.length})"
            yield RecordRefused("STRING_TOO_LONG", said, held.name)
        if held.restricted and not set(str(value).split(";")) <= set(held.values):
            said = f"{held.name}: bad value for restricted picklist field: {value}"
            yield RecordRefused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", said, held.name)
        if held.type == "email" and not EMAIL.fullmatch(value):
            yield RecordRefused("INVALID_EMAIL_ADDRESS", f"{held.name}: invalid email address: {value}", held.name)
        if held.to and self.find(held.to, value) is None:
            yield RecordRefused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", held.name)


def _nothing(held: Field) -> None:
    if held.type == "boolean":
        raise RecordRefused("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{held.name}: value not of required type: null", held.name)


def _typed(held: Field, value: Any) -> Any:
    """In the form in which it is given back; what cannot be read refuses the whole request."""
    try:
        if held.type == "boolean":
            return {"true": True, "false": False}[str(value).lower()]
        if held.type == "int":
            return int(str(value))
        if held.type in ("currency", "double", "percent"):
            return float(value)
        if held.type == "date":
            return dt.date.fromisoformat(str(value)).isoformat()
        if held.type == "datetime":
            return stamp(dt.datetime.fromisoformat(str(value)).timestamp())
    except (ValueError, KeyError):
        said = f"Cannot deserialize instance of {held.type} from VALUE_STRING value {str(value)[:50]}"
        raise ApiError(400, "JSON_PARSER_ERROR", said) from None
    return full(value) if held.to else str(value).strip()


def _number(value: int, width: int) -> str:
    digits = ""
    while value:
        value, rest = divmod(value, len(ALPHABET))
        digits = ALPHABET[rest] + digits
    return digits.rjust(width, "0")
