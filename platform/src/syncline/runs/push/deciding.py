"""From rows to verdicts: map, look up who is who, classify. Asks the database, never the vendor, and writes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncline.contract import Dataset
from syncline.ledger.records import Scope
from syncline.syncs.engine.compile import Mapped

from . import lookup
from .classify import classify, needs_match
from .identities import WIDEST
from .matching import CREATE, Match
from .reader import Row
from .work import Deferred, Policy, References, Verdict


@dataclass(frozen=True)
class Deciding:
    """`release`: what happens to the links of records of ours that have gone, when others take over their remote records."""

    policy: Policy
    scope: Scope
    run_id: int
    dataset: Dataset
    release: Callable[[Sequence[str]], None]

    def __call__(self, rows: Sequence[Row]) -> Iterator[Verdict]:
        mapped = [(row, self.policy.mapping.map(row.values)) for row in rows]
        references = self._references([m for _, m in mapped])
        unlinked = [row for row, m in mapped if needs_match(self.policy, row, m)]
        found, asked = self.matches(unlinked), {row.key for row in unlinked}
        for row, values in mapped:
            if row.key in asked and row.key not in found:
                yield Deferred(row.key, 0.0)
            else:
                yield classify(self.policy, row, values, references(values), found.get(row.key, CREATE))

    def matches(self, rows: Sequence[Row]) -> dict[str, Match]:
        """By local key; a row is missing whose values are not those that were looked up."""
        unlinked = {row.key: self._unlinked(row) for row in rows}
        found = lookup.matches(self.scope, self.run_id, self.policy.rule, unlinked, self._existing)
        if orphans := [match.orphan for match in found.values() if match.orphan]:
            self.release(orphans)
        return found

    def _existing(self, keys: Sequence[str]) -> set[str]:
        """Those of our records that are still there, in whatever segment."""
        field = self.dataset.key_field
        rows = self.dataset.rows((), "").filter(**{f"{field}__in": list(keys)})
        return {str(key) for key in rows.values_list(field, flat=True)}

    def _unlinked(self, row: Row) -> lookup.Unlinked:
        values = self.policy.mapping.match_values(row.values)
        return lookup.Unlinked(self.policy.unique_value(row.key), frozenset((step, value[:WIDEST]) for step, value in values))

    def _references(self, mapped: Sequence[Mapped]) -> _Resolver:
        wanted: dict[str, set[str]] = {}
        for one in mapped:
            for object_type, keys in one.references.items():
                wanted.setdefault(object_type, set()).update(keys)
        datasets = self.policy.mapping.references
        return _Resolver(
            {
                object_type: lookup.targets(self.scope, datasets[object_type], object_type, sorted(keys))
                for object_type, keys in wanted.items()
            }
        )


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Local keys of other datasets → remote ids."""

    found: Mapping[str, Mapping[str, str]]

    def __call__(self, mapped: Mapped) -> References:
        ids: dict[str, frozenset[str]] = {}
        missing: dict[str, tuple[str, ...]] = {}
        for object_type, keys in mapped.references.items():
            known = self.found.get(object_type, {})
            ids[object_type] = frozenset(known[k] for k in keys if k in known)
            missing[object_type] = tuple(k for k in keys if k not in known)
        return References(ids, missing)
