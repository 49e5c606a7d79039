"""The one place that turns differences between two discoveries into rows of the catalog's history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models.functions import Now

from syncline.connections.models import Connection
from syncline.contract import ObjectType, Property

from . import codec
from .diff import Diff, ObjectChange, PropertyChange
from .models import CatalogChange

Aspect = CatalogChange.Aspect
Objects = Mapping[str, ObjectType]

#: Aspects that matter to a mapping, each with what of a property is kept of it.
_TOLD: Final = ("kind", "choices", "read_only", "required")


@dataclass(frozen=True, slots=True)
class Noted:
    """A row to be. `before` and `after` as in CatalogChange; `choices`: all values there are now."""

    object_type: str
    property: str
    aspect: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    choices: frozenset[str] = frozenset()


def record(connection: Connection, diff: Diff, before: Objects, after: Objects) -> None:
    """Settles open rows whose change was taken back, and adds a row for whatever else changed."""
    noted = list(_noted(diff, before, after))
    if not noted:
        return
    names = {(one.object_type, one.property) for one in noted}
    waiting = [row for row in open_changes(connection) if (row.object_type, row.property) in names]
    settled, fresh = _settle(noted, waiting)
    if settled:
        CatalogChange.objects.filter(pk__in=[row.pk for row in settled]).update(settled_at=Now())
    CatalogChange.objects.bulk_create(
        CatalogChange(
            connection=connection,
            object_type=one.object_type,
            property=one.property,
            aspect=one.aspect,
            before=one.before,
            after=one.after,
        )
        for one in fresh
    )


def open_changes(connection: Connection, object_type: str = "") -> list[CatalogChange]:
    """Changes that were not taken back, oldest first; what was added is never taken back, it is removed later."""
    rows = CatalogChange.objects.filter(connection=connection, settled_at=None).exclude(aspect=Aspect.ADDED)
    return list((rows.filter(object_type=object_type) if object_type else rows).order_by("id"))


def _noted(diff: Diff, before: Objects, after: Objects) -> Iterator[Noted]:
    for key in diff.added:
        yield Noted(key, "", Aspect.ADDED, None, {"title": after[key].title})
    for key in diff.removed:
        yield Noted(key, "", Aspect.REMOVED, {"title": before[key].title}, None)
    for change in diff.changed:
        yield from _of_object(change, before[change.key], after[change.key])


def _of_object(change: ObjectChange, before: ObjectType, after: ObjectType) -> Iterator[Noted]:
    for name in change.added:
        yield Noted(change.key, name, Aspect.ADDED, None, _plain(after, name))
    for name in change.removed:
        yield Noted(change.key, name, Aspect.REMOVED, _plain(before, name), None)
    for one in change.changed:
        yield from _of_property(change.key, one)
    if change.itself:
        yield Noted(change.key, "", Aspect.OTHER, _frame(before), _frame(after))


def _plain(one: ObjectType, name: str) -> dict[str, Any] | None:
    prop = one.property(name)
    return codec.property_to_json(prop) if prop else None


def _frame(one: ObjectType) -> dict[str, Any]:
    """All but the properties and the number of records."""
    return {name: value for name, value in codec.to_json(one).items() if name not in ("properties", "count")}


def _of_property(key: str, change: PropertyChange) -> Iterator[Noted]:
    told = [name for name in _TOLD if name in change.aspects and (name != "choices" or _other_values(change))]
    for name in told:
        before, after = _part(change.before, change.after, name), _part(change.after, change.before, name)
        yield Noted(key, change.name, name, before, after, frozenset(one.value for one in change.after.choices))
    rest = [name for name in change.aspects if name not in told and not (told and name in ("schema", "choices"))]
    if rest:
        before, after = codec.property_to_json(change.before), codec.property_to_json(change.after)
        yield Noted(key, change.name, Aspect.OTHER, {n: before[n] for n in rest}, {n: after[n] for n in rest})


def _other_values(change: PropertyChange) -> bool:
    return {one.value for one in change.before.choices} != {one.value for one in change.after.choices}


def _part(one: Property, other: Property, aspect: str) -> dict[str, Any]:
    plain = codec.property_to_json(one)[aspect]
    if aspect == "choices":
        shared = {choice.value for choice in other.choices}
        plain = [choice for choice in plain if choice["value"] not in shared]
    return {aspect: plain}


def _settle(noted: list[Noted], waiting: list[CatalogChange]) -> tuple[list[CatalogChange], list[Noted]]:
    """Rows that are settled now, and what is left to be told."""
    settled: list[CatalogChange] = []
    fresh: list[Noted] = []
    for one in noted:
        mine = [row for row in waiting if (row.object_type, row.property) == (one.object_type, one.property)]
        taken, rest = _taken_back(one, mine)
        settled += taken
        fresh += rest
    return settled, fresh


def _taken_back(one: Noted, rows: list[CatalogChange]) -> tuple[list[CatalogChange], list[Noted]]:
    if one.aspect == Aspect.ADDED:
        gone = [row for row in rows if row.aspect == Aspect.REMOVED]
        return gone, _different(one, gone[-1]) if gone else [one]
    same = [row for row in rows if row.aspect == one.aspect]
    if one.aspect == Aspect.CHOICES:
        return _choices_back(one, same)
    first = next((number for number, row in enumerate(same) if row.before == one.after), None)
    return ([], [one]) if first is None or one.after is None else (same[first:], [])


def _different(back: Noted, gone: CatalogChange) -> list[Noted]:
    """A property that came back is perhaps not the one that went."""
    if not back.property or gone.before is None or back.after is None:
        return []
    change = PropertyChange(back.property, codec.property_from_json(gone.before), codec.property_from_json(back.after))
    return list(_of_property(back.object_type, change))


def _choices_back(one: Noted, rows: list[CatalogChange]) -> tuple[list[CatalogChange], list[Noted]]:
    """A row is settled when what it lost is there again and what came is gone; what no settled row tells of is told now."""
    taken = [row for row in rows if _values(row.before) <= one.choices and not _values(row.after) & one.choices]
    told = {value for row in taken for value in _values(row.before) | _values(row.after)}
    taken = [row for row in rows if row in taken or _values(row.before) | _values(row.after) <= told]
    before = [choice for choice in (one.before or {})["choices"] if choice["value"] not in told]
    after = [choice for choice in (one.after or {})["choices"] if choice["value"] not in told]
    left = Noted(one.object_type, one.property, one.aspect, {"choices": before}, {"choices": after}, one.choices)
    return taken, [left] if before or after else []


def _values(part: Mapping[str, Any] | None) -> set[str]:
    return {choice["value"] for choice in (part or {}).get("choices", ())}
