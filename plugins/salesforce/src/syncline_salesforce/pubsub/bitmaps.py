"""Which fields a change event means: bits in the order of its schema, the lowest first; `3-0x6` are fields inside the fourth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
Path = tuple[str, ...]
"""A field of the event, or one inside a compound field."""


class Layout:
    """The order of fields in a schema, and of those inside compound ones."""

    def __init__(self, schema: Json) -> None:
        self._named: dict[str, Json] = {}
        self._learn(schema)
        self.fields = [(str(one["name"]), self._inside(one["type"])) for one in schema["fields"]]

    def paths(self, parent: int | None = None) -> list[Path]:
        """Every field, compound ones by their parts; of one field its parts, or itself."""
        places = range(len(self.fields)) if parent is None else [parent]
        return [path for place in places for path in self._parts(place)]

    def named(self, bitmaps: Sequence[str]) -> list[Path]:
        """ValueError when a bit stands for no field."""
        nested = {int(place): bits for place, _, bits in (one.partition("-") for one in bitmaps if "-" in one)}
        places = {place for one in bitmaps if "-" not in one for place in _set_bits(one, len(self.fields))}
        whole = [path for place in sorted(places - nested.keys()) for path in self.paths(place)]
        return whole + [path for place, bits in nested.items() for path in self._children(place, bits)]

    def _children(self, place: int, bits: str) -> Iterator[Path]:
        if not 0 <= place < len(self.fields):
            raise ValueError(f"there is no field {place}")
        name, parts = self.fields[place]
        for child in _set_bits(bits, len(parts)):
            yield name, parts[child]

    def _parts(self, place: int) -> list[Path]:
        name, parts = self.fields[place]
        return [(name, part) for part in parts] or [(name,)]

    def _learn(self, kind: Any) -> None:
        """Records that are spelt out once and meant by their names from then on."""
        for one in kind if isinstance(kind, list) else [kind]:
            if isinstance(one, Mapping) and one.get("type") == "record":
                self._named[str(one["name"]).rpartition(".")[2]] = one
                for field in one["fields"]:
                    self._learn(field["type"])

    def _inside(self, kind: Any) -> list[str]:
        for one in kind if isinstance(kind, list) else [kind]:
            record = self._named.get(one.rpartition(".")[2]) if isinstance(one, str) else one
            if isinstance(record, Mapping) and record.get("type") == "record":
                return [str(field["name"]) for field in record["fields"]]
        return []


def _set_bits(bits: str, count: int) -> list[int]:
    number = int(bits, 16)
    if number.bit_length() > count:
        raise ValueError(f"{bits[:40]} means more than {count} fields")
    return [place for place in range(number.bit_length()) if number >> place & 1]
