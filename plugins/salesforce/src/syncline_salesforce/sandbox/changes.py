"""Change events in Salesforce's form: the schema of an object's events, bitmaps, Avro."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import orjson

from .definitions import ObjectDef
from .org import Record

TEXTS = "array"
STRINGS = {"type": TEXTS, "items": "string"}
KINDS = ("CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW")
HEADER = {
    "type": "record",
    "name": "ChangeEventHeader",
    "fields": [
        {"name": "entityName", "type": "string"},
        {"name": "recordIds", "type": STRINGS},
        {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": list(KINDS)}},
        {"name": "changeOrigin", "type": "string"},
        {"name": "transactionKey", "type": "string"},
        {"name": "sequenceNumber", "type": "int"},
        {"name": "commitTimestamp", "type": "long"},
        {"name": "commitNumber", "type": "long"},
        {"name": "commitUser", "type": "string"},
        {"name": "nulledFields", "type": STRINGS},
        {"name": "diffFields", "type": STRINGS},
        {"name": "changedFields", "type": STRINGS},
    ],
}
TYPES = {"boolean": "boolean", "int": "int", "currency": "double", "double": "double", "percent": "double", "date": "long"}
LEFT_OUT = frozenset({"Id", "IsDeleted", "SystemModstamp", "MasterRecordId"})
#: Compound field → its part in the event → the field of the record.
COMPOUND: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "Account": {"BillingAddress": {"Street": "", "City": "", "Country": "BillingCountry"}},
    "Contact": {"Name": {"FirstName": "FirstName", "LastName": "LastName", "Salutation": ""}},
}
LONG = 255  # of a text area, from where on its change comes as a difference


@dataclass(frozen=True, slots=True)
class Told:
    """One event before it is written. `values` as in the record; `before`: of an update, what it was."""

    kind: str
    change: str
    ids: tuple[str, ...]
    values: Record
    before: Record


class ChangeSchema:
    """How one object's events look."""

    def __init__(self, definition: ObjectDef, event: str) -> None:
        self._compound = COMPOUND.get(definition.name, {})
        inside = {name for parts in self._compound.values() for name in parts.values()} | set(self._compound)
        self._plain = {one.name: one for one in definition.fields.values() if one.name not in LEFT_OUT | inside}
        fields = [{"name": "ChangeEventHeader", "type": HEADER}, *map(self._compound_field, self._compound)]
        fields += [_plain_field(one.name, one.type) for one in self._plain.values()]
        self.places = {str(one["name"]): place for place, one in enumerate(fields)}
        self.json = orjson.dumps({"type": "record", "name": event, "namespace": "com.sforce.eventbus", "fields": fields}).decode()
        self.id = hashlib.blake2b(self.json.encode(), digest_size=12).hexdigest()
        self._parsed = fastavro.parse_schema(orjson.loads(self.json))

    def encode(self, told: Told, header: Mapping[str, Any]) -> bytes:
        names = [name for name in told.values if told.change == "CREATE" or told.values[name] != told.before.get(name)]
        nulled = [name for name in names if told.values[name] is None and told.change == "UPDATE"]
        diffs = [name for name in names if told.change == "UPDATE" and self._differs(name, told)]
        shown = {name: _difference(told, name) if name in diffs else self._value(name, told.values[name]) for name in names}
        out = io.BytesIO()
        changed = names if told.change == "UPDATE" else []
        bits = {"changedFields": self._bits(changed), "nulledFields": self._bits(nulled), "diffFields": self._bits(diffs)}
        fastavro.schemaless_writer(out, self._parsed, {"ChangeEventHeader": {**header, **bits}, **self._nested(shown)})
        return out.getvalue()

    def _differs(self, name: str, told: Told) -> bool:
        held = self._plain.get(name)
        both = (told.values[name], told.before.get(name))
        return bool(held and held.type == "textarea" and all(isinstance(one, str) and len(one) > LONG for one in both))

    def _value(self, name: str, value: Any) -> Any:
        held = self._plain.get(name)
        if value is None or held is None or held.type not in ("date", "datetime"):
            return value
        at = dt.datetime.fromisoformat(value)
        return int((at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp() * 1000)

    def _compound_field(self, name: str) -> dict[str, Any]:
        parts = [{"name": part, "type": ["null", "string"], "default": None} for part in self._compound[name]]
        return {"name": name, "type": ["null", {"type": "record", "name": f"Of{name}", "fields": parts}], "default": None}

    def _nested(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: value for name, value in shown.items() if name in self._plain}
        for name, parts in self._compound.items():
            inside = {part: shown.get(of) for part, of in parts.items()}
            plain[name] = inside if any(value is not None for value in inside.values()) else None
        return plain

    def _bits(self, names: Sequence[str]) -> list[str]:
        """Fields of the record as bits of the event; parts of compound fields by the place of the whole."""
        top = sum(1 << self.places[name] for name in names if name in self._plain)
        nested = []
        for name, parts in self._compound.items():
            inside = sum(1 << place for place, of in enumerate(parts.values()) if of in names)
            nested += [f"{self.places[name]}-0x{inside:X}"] if inside else []
        return ([f"0x{top:X}"] if top else []) + nested


def _plain_field(name: str, kind: str) -> dict[str, Any]:
    avro = "long" if kind == "datetime" else TYPES.get(kind, "string")
    return {"name": name, "type": ["null", avro], "default": None}


def _difference(told: Told, name: str) -> str:
    """Only what is different, as `diff -u` shows it."""
    lines = difflib.unified_diff(told.before[name].splitlines(), told.values[name].splitlines(), lineterm="")
    return "\n".join(lines)
