"""What changed between two discoveries. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncline.contract import ObjectType, Property


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """A property that was there before and is different now; `aspects` names what: kind, choices, read_only …"""

    name: str
    before: Property
    after: Property

    @property
    def aspects(self) -> tuple[str, ...]:
        return tuple(name for name in Property.__slots__ if getattr(self.before, name) != getattr(self.after, name))


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object whose definition is different now. `itself`: something other than its properties changed."""

    key: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[PropertyChange, ...] = ()
    itself: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """Keys of objects that came and went, and what changed inside the others. Empty is false."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[ObjectChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def compare(before: Mapping[str, ObjectType], after: Mapping[str, ObjectType]) -> Diff:
    both = [key for key in after if key in before]
    changes = [compare_object(before[key], after[key]) for key in both]
    return Diff(
        added=tuple(key for key in after if key not in before),
        removed=tuple(key for key in before if key not in after),
        changed=tuple(change for change in changes if change is not None),
    )


def compare_object(before: ObjectType, after: ObjectType) -> ObjectChange | None:
    """None when nothing but the count of records differs."""
    old = {one.name: one for one in before.properties}
    new = {one.name: one for one in after.properties}
    change = ObjectChange(
        key=after.key,
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(PropertyChange(name, old[name], new[name]) for name in new if name in old and old[name] != new[name]),
        itself=_rest(before) != _rest(after),
    )
    return change if change != ObjectChange(after.key) else None


def _rest(one: ObjectType) -> tuple[object, ...]:
    skipped = {"properties", "count"}
    return tuple(getattr(one, name) for name in ObjectType.__slots__ if name not in skipped)
