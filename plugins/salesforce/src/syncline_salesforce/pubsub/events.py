"""Change events: Avro in, what happened to which records out."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import orjson

from .bitmaps import Layout, Path

HEADER: Final = "ChangeEventHeader"
CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
GONE: Final = frozenset({"DELETE", "GAP_DELETE"})
OVERFLOW: Final = "GAP_OVERFLOW"
#: Change events have no field for these, and need none: the id is in the header, the rest follows from it.
IMPLIED: Final = frozenset({"Id", "IsDeleted", "SystemModstamp"})


@dataclass(frozen=True, slots=True)
class Happened:
    """`values`: property → value as it came, None where it was emptied. `partial`: the records must be asked for the rest."""

    change: str
    ids: tuple[str, ...]
    at: dt.datetime
    values: Mapping[str, Any]
    partial: bool = False


class Schema:
    """One version of one object's change events."""

    def __init__(self, text: str) -> None:
        raw = orjson.loads(text)
        self._parsed, self._layout = fastavro.parse_schema(raw), Layout(raw)

    def read(self, payload: bytes) -> dict[str, Any]:
        decoded = fastavro.schemaless_reader(io.BytesIO(payload), self._parsed, None)
        if not isinstance(decoded, dict) or not isinstance(decoded.get(HEADER), dict):
            raise ValueError("it has no header")  # noqa: TRY004 - the sender's value, not the caller's type
        return decoded

    def happened(self, payload: bytes, asked: Collection[str]) -> Happened:
        """ValueError, or an error of the Avro library, for what cannot be read."""
        told = self.read(payload)
        header = told[HEADER]
        change, ids = str(header["changeType"]), tuple(str(one) for one in header["recordIds"])
        at = dt.datetime.fromtimestamp(header["commitTimestamp"] / 1000, dt.UTC)
        if change not in (CREATE, UPDATE):
            return Happened(change, ids, at, {}, partial=True)
        values, partial = self._values(told, header, change, asked)
        return Happened(change, ids, at, values, partial)

    def _values(
        self, told: Mapping[str, Any], header: Mapping[str, Any], change: str, asked: Collection[str]
    ) -> tuple[dict[str, Any], bool]:
        nulled = set(self._layout.named(header.get("nulledFields") or ()))
        changed = self._layout.paths() if change == CREATE else [*self._layout.named(header.get("changedFields") or ()), *nulled]
        meant = {path: property_of(path, asked) for path in changed}
        values = {name: None if path in nulled else _at(told, path) for path, name in meant.items() if name}
        return values, self._partial(header, changed, asked)

    def _partial(self, header: Mapping[str, Any], changed: Collection[Path], asked: Collection[str]) -> bool:
        """Long texts come as differences, names put together and formulas not at all."""
        covered = {name for path in self._layout.paths() if (name := property_of(path, asked))} | IMPLIED
        compound = any(len(path) == 2 and path[0] in asked for path in changed)
        return bool(header.get("diffFields")) or compound or not set(asked) <= covered


def property_of(path: Path, asked: Collection[str]) -> str:
    """The property that holds this field, "" when it is not asked for. Parts of compound fields are properties of their own."""
    parent, child = path[0], path[-1]
    names: tuple[str, ...] = (parent,)
    if len(path) == 2:
        names = (child,) if parent == "Name" else (f"{parent.removesuffix('Address')}{child}", _of_custom(parent, child), child)
    return next((name for name in names if name in asked), "")


def _of_custom(parent: str, child: str) -> str:
    return f"{parent.removesuffix('__c')}__{child}__s"


def _at(told: Mapping[str, Any], path: Path) -> Any:
    held: Any = told.get(path[0])
    if len(path) == 2:
        return held.get(path[1]) if isinstance(held, Mapping) else None
    return held
