"""Canonical values ↔ HubSpot's, which are all strings. One function per kind; HubSpot's empty value is ""."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from syncline.contract import Kind, ObjectType, PastValue, RemoteRecord, Retryable, Value

#: Properties with the ids of records that were merged into this one. HubSpot leaves out what an object does not have.
MERGED: Final = ("hs_merged_object_ids", "hs_calculated_merged_vids")


def to_wire(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def from_wire(kind: Kind, name: str, raw: Any) -> Value:
    """A value that does not fit its property's type stays text, so that it differs from whatever we would write."""
    if raw is None or raw == "":
        return None
    return _converted(READERS.get(name) or KINDS.get(kind, str), raw)


def _converted(convert: Callable[[str], Value], raw: Any) -> Value:
    try:
        return convert(str(raw))
    except (ValueError, InvalidOperation, OverflowError):
        return str(raw)


class Reader:
    """Makes records of one object; made once for many of them, because an object has hundreds of properties."""

    def __init__(self, object_type: ObjectType) -> None:
        self._title = object_type.title
        #: Of the properties that are not plain text.
        self._converters = {p.name: KINDS[p.kind] for p in object_type.properties if p.kind in KINDS} | READERS

    def __call__(self, raw: Any) -> RemoteRecord:
        if not isinstance(raw, dict) or not raw.get("id") or not isinstance(raw.get("properties") or {}, dict):
            raise Retryable(f"HubSpot listed one of {self._title} without an id or in no known form. It is asked again.")
        values = raw.get("properties") or {}
        return RemoteRecord(
            id=str(raw["id"]),
            properties=self._values(values),
            archived=bool(raw.get("archived")),
            modified_at=_latest(raw.get("updatedAt"), raw.get("archivedAt")),
            merged=_merged(str(raw["id"]), values),
            history={name: self._history(name, past) for name, past in (raw.get("propertiesWithHistory") or {}).items()},
        )

    def _values(self, raw: Mapping[str, Any]) -> dict[str, Value]:
        converters = self._converters
        return {
            name: (_converted(converters[name], value) if name in converters else str(value)) if value not in (None, "") else None
            for name, value in raw.items()
        }

    def _history(self, name: str, past: Iterable[Mapping[str, Any]]) -> tuple[PastValue, ...]:
        dated = [(at, each) for each in past if (at := _latest(each.get("timestamp")))]
        dated.sort(key=lambda pair: pair[0], reverse=True)
        return tuple(PastValue(self._values({name: each.get("value")})[name], at, _author(each)) for at, each in dated)


def record(object_type: ObjectType, raw: Mapping[str, Any]) -> RemoteRecord:
    return Reader(object_type)(raw)


def with_merged(names: Iterable[str]) -> list[str]:
    """The properties to ask for: those wanted, and those that tell which records were merged into one."""
    return list(dict.fromkeys((*names, *MERGED)))


def _merged(own: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """HubSpot puts semicolons between ids; contacts have an older list too, which adds a time to each: `101:1493131580297`."""
    told = [str(text) for name in MERGED if (text := values.get(name))]
    parts = [part.partition(":")[0].strip() for text in told for part in text.split(";")]
    return tuple(dict.fromkeys(part for part in parts if part and part != own))


def _author(past: Mapping[str, Any]) -> str:
    return str(past.get("sourceLabel") or past.get("sourceType") or "")


def _latest(*raw: Any) -> dt.datetime | None:
    """The latest of the moments that can be read."""
    return max((at for text in raw if text and (at := _readable(str(text)))), default=None)


def _readable(raw: str) -> dt.datetime | None:
    try:
        return _moment(raw)
    except (ValueError, OverflowError, OSError):
        return None


LONGEST_NUMBER: Final = 400


def _number(raw: str) -> Value:
    number = Decimal(raw)
    if not number.is_finite() or number.adjusted() > LONGEST_NUMBER:  # written out, one such would fill the memory
        raise ValueError(raw[:50])
    return int(number) if number == number.to_integral_value() else Decimal(format(number.normalize(), "f"))


def _moment(raw: str) -> dt.datetime:
    if raw.lstrip("-").isdigit():  # epoch milliseconds
        return dt.datetime.fromtimestamp(int(raw) / 1000, dt.UTC)
    parsed = dt.datetime.fromisoformat(raw)
    return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)


def _datetime(raw: str) -> str:
    if len(raw) == 24 and raw[10] == "T" and raw[19] == "." and raw[23] == "Z":  # as most are, and as ours are
        return raw
    return _moment(raw).isoformat(timespec="milliseconds").replace("+00:00", "Z")


KINDS: Final[dict[Kind, Callable[[str], Value]]] = {
    Kind.NUMBER: _number,
    Kind.BOOLEAN: lambda raw: raw.lower() == "true",
    Kind.DATE: lambda raw: _moment(raw).date().isoformat(),
    Kind.DATETIME: _datetime,
    Kind.SET: lambda raw: tuple(sorted({part for part in raw.split(";") if part})),
    Kind.EMAIL: lambda raw: raw.strip().lower(),
}
# By property: the same domain is written in many ways.
READERS: Final[dict[str, Callable[[str], Value]]] = {"domain": lambda raw: raw.strip().lower().rstrip(".")}
