"""Associations: which records hang together, and by which types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HUBSPOT_DEFINED = "HUBSPOT_DEFINED"
USER_DEFINED = "USER_DEFINED"

Spec = tuple[str, int]
"""Category and type id."""
Pair = tuple[str, str]
"""Object type ids, from and to."""

_UNLABELLED: dict[Pair, int] = {
    ("0-1", "0-2"): 279,
    ("0-2", "0-1"): 280,
    ("0-3", "0-2"): 341,
    ("0-2", "0-3"): 342,
    ("0-3", "0-1"): 3,
    ("0-1", "0-3"): 4,
    ("0-1", "0-1"): 449,
    ("0-2", "0-2"): 450,
    ("0-3", "0-3"): 451,
    ("0-5", "0-1"): 16,
    ("0-1", "0-5"): 15,
    ("0-5", "0-2"): 339,
    ("0-2", "0-5"): 340,
    ("0-5", "0-3"): 28,
    ("0-3", "0-5"): 27,
}
_LABELLED: tuple[tuple[Pair, int, int, str], ...] = (
    (("0-1", "0-2"), 1, 2, "Primary"),
    (("0-3", "0-2"), 5, 6, "Primary"),
    (("0-5", "0-2"), 26, 25, "Primary"),
    (("0-2", "0-2"), 13, 14, "Parent Company"),
)
_PRIMARY = {1, 5, 26}


@dataclass(frozen=True, slots=True)
class LinkType:
    category: str
    type_id: int
    inverse_id: int
    label: str | None

    @property
    def spec(self) -> Spec:
        return (self.category, self.type_id)


@dataclass(slots=True)
class Links:
    """`held[pair][from id][to id]` is the set of types; both directions are always kept."""

    held: dict[Pair, dict[str, dict[str, set[Spec]]]] = field(default_factory=dict)
    types: dict[Pair, dict[Spec, LinkType]] = field(default_factory=dict)
    next_type: int = 1_000

    def types_of(self, pair: Pair) -> dict[Spec, LinkType]:
        if pair not in self.types:
            self._prepare(pair)
        return self.types[pair]

    def _prepare(self, pair: Pair) -> None:
        there = _UNLABELLED.get(pair) or self._new_type()
        back = there if pair[0] == pair[1] else _UNLABELLED.get((pair[1], pair[0])) or self._new_type()
        self._register(pair, HUBSPOT_DEFINED, there, back, None)
        for known, forth, reverse, label in _LABELLED:
            if set(known) == set(pair):
                self._register(known, HUBSPOT_DEFINED, forth, reverse, label)

    def _new_type(self) -> int:
        self.next_type += 1
        return self.next_type

    def _register(self, pair: Pair, category: str, there: int, back: int, label: str | None) -> None:
        forward, reverse = LinkType(category, there, back, label), LinkType(category, back, there, label)
        self.types.setdefault(pair, {})[forward.spec] = forward
        self.types.setdefault((pair[1], pair[0]), {})[reverse.spec] = reverse

    def add_label(self, pair: Pair, label: str, inverse_label: str | None) -> tuple[LinkType, LinkType]:
        self.types_of(pair)
        there, back = self._new_type(), self._new_type()
        self._register(pair, USER_DEFINED, there, back, label)
        reverse = LinkType(USER_DEFINED, back, there, inverse_label or label)
        self.types[pair[1], pair[0]][reverse.spec] = reverse
        return self.types[pair][USER_DEFINED, there], reverse

    def default(self, pair: Pair) -> LinkType:
        return next(kind for kind in self.types_of(pair).values() if kind.label is None)

    def connect(self, pair: Pair, from_id: str, to_id: str, specs: set[Spec]) -> None:
        """Labels replace the pair's earlier labels; the unlabelled type is always there."""
        kinds = self.types_of(pair)
        if any(kinds[spec].type_id in _PRIMARY for spec in specs):
            self._drop_primary(pair, from_id)
        wanted = specs | {self.default(pair).spec}
        self._place(pair, from_id, to_id, wanted)
        self._place((pair[1], pair[0]), to_id, from_id, {(kind, kinds[kind, there].inverse_id) for kind, there in wanted})

    def _place(self, pair: Pair, from_id: str, to_id: str, specs: set[Spec]) -> None:
        self.held.setdefault(pair, {}).setdefault(from_id, {})[to_id] = specs

    def _drop_primary(self, pair: Pair, from_id: str) -> None:
        for to_id, specs in self.of(pair, from_id).items():
            for spec in [spec for spec in specs if spec[1] in _PRIMARY]:
                self._discard(pair, from_id, to_id, spec)

    def _discard(self, pair: Pair, from_id: str, to_id: str, spec: Spec) -> None:
        inverse = (spec[0], self.types_of(pair)[spec].inverse_id)
        self.held[pair][from_id][to_id].discard(spec)
        self.held[pair[1], pair[0]][to_id][from_id].discard(inverse)

    def unlabel(self, pair: Pair, from_id: str, to_id: str, specs: set[Spec]) -> None:
        for spec in specs & self.of(pair, from_id).get(to_id, set()):
            self._discard(pair, from_id, to_id, spec)

    def remove(self, pair: Pair, from_id: str, to_id: str) -> None:
        self.held.get(pair, {}).get(from_id, {}).pop(to_id, None)
        self.held.get((pair[1], pair[0]), {}).get(to_id, {}).pop(from_id, None)

    def of(self, pair: Pair, from_id: str) -> dict[str, set[Spec]]:
        return self.held.get(pair, {}).get(from_id, {})

    def around(self, type_id: str, record_id: str) -> Iterator[tuple[Pair, str, set[Spec]]]:
        """Every link of one record."""
        for pair, by_from in list(self.held.items()):
            if pair[0] == type_id:
                for to_id, specs in list(by_from.get(record_id, {}).items()):
                    yield pair, to_id, specs

    def forget(self, type_id: str, record_id: str) -> None:
        for pair, to_id, _ in self.around(type_id, record_id):
            self.remove(pair, record_id, to_id)

    def move(self, type_id: str, old_id: str, new_id: str) -> None:
        for pair, to_id, specs in self.around(type_id, old_id):
            self.remove(pair, old_id, to_id)
            if to_id != new_id:
                self.connect(pair, new_id, to_id, specs)
