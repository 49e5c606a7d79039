"""What a connector suggests, made to fit the direction of a sync. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from syncline.contract.dataset import DatasetInfo
from syncline.contract.mapping import MatchRule, MatchStep, SuggestedMapping, SuggestedRule
from syncline.contract.values import ObjectType

from .content import Direction, NullPolicy, Owner, WriteMode

Steps = tuple[Mapping[str, Any], ...]
#: Transforms that only tidy: both ways they do the same, and without them a value is still the value.
TIDYING: Final = frozenset({"trim", "collapse", "lower", "upper"})
SHARED: Final = frozenset({Owner.NEWEST, Owner.REVIEW})


def suited(suggested: SuggestedMapping, dataset: DatasetInfo, object_type: ObjectType, direction: str) -> SuggestedMapping:
    """What of it can be published for a sync of this direction.

    In a pull, rules are read backwards: what cannot be is left out, and each field is pulled once, by the first rule of those it
    has. In a two-way sync such rules stay, decided here.
    """
    if direction == Direction.PUSH:
        return replace(suggested, rules=tuple(replace(rule, owner=Owner.HERE) for rule in suggested.rules))
    if direction == Direction.PULL:
        rules = tuple(_pulled(suggested.rules, dataset, object_type))
        return SuggestedMapping(rules, MatchRule(tuple(_rehomed(suggested, rules, object_type))))
    return replace(suggested, rules=tuple(_shared(suggested.rules, dataset)))


def _pulled(rules: Sequence[SuggestedRule], dataset: DatasetInfo, object_type: ObjectType) -> Iterator[SuggestedRule]:
    taken: set[str] = set()
    for rule in rules:
        back = backwards(rule)
        if back is not None and _writable(rule, dataset) and rule.source not in taken and _there(rule, object_type):
            taken.add(rule.source)
            yield replace(rule, transforms=back, owner=Owner.THERE)


def _writable(rule: SuggestedRule, dataset: DatasetInfo) -> bool:
    field = dataset.field(rule.source)
    return field is not None and field.writable and rule.write_mode != WriteMode.APPEND


def _there(rule: SuggestedRule, object_type: ObjectType) -> bool:
    """Nothing can be read from what is only to be created."""
    if rule.association:
        return any(a.object_type == rule.target for a in object_type.associations)
    return object_type.property(rule.target) is not None


def backwards(rule: SuggestedRule) -> Steps | None:
    """The transforms that undo the rule's; None when that is not possible.

    Where nothing clears, a choice that has no counterpart here counts as empty: it is no reason to refuse the record.
    """
    undone = [_undone(step, lenient=rule.null_policy == NullPolicy.SKIP) for step in reversed(rule.transforms)]
    return None if None in undone else tuple(step for step in undone if step is not None)


def _undone(step: Mapping[str, Any], *, lenient: bool) -> Mapping[str, Any] | None:
    if step["name"] in TIDYING:
        return step
    if step["name"] != "choice_map" or "default" in step:
        return None
    turned = {there: here for here, there in step["map"].items() if isinstance(there, str)}
    if len(turned) < len(step["map"]):
        return None
    return {**step, "map": turned, "default": None} if lenient else {**step, "map": turned}


def _rehomed(suggested: SuggestedMapping, rules: Sequence[SuggestedRule], object_type: ObjectType) -> Iterator[MatchStep]:
    """The steps that still have a rule; one whose rule is left out goes on by another rule of the same field."""
    by_target = {rule.target: rule for rule in suggested.rules if not rule.association}
    for step in suggested.match.steps:
        lost = by_target.get(step.property)
        by = next((r for r in rules if lost and not r.association and r.source == lost.source), None)
        if by is not None:
            also = tuple(n for n in dict.fromkeys((step.property, *step.also)) if n != by.target)
            yield replace(step, property=by.target, also=tuple(n for n in also if object_type.property(n) is not None))


def _shared(rules: Sequence[SuggestedRule], dataset: DatasetInfo) -> Iterator[SuggestedRule]:
    taken: set[str] = set()
    for rule in rules:
        fitting = _fitting(rule, dataset) if rule.source not in taken else None
        taken |= {rule.source} if fitting else set()
        yield fitting or replace(rule, owner=Owner.HERE)


def _fitting(rule: SuggestedRule, dataset: DatasetInfo) -> SuggestedRule | None:
    """The rule with the owner it is suggested for, if it can be pulled; fields of both sides take no transforms."""
    if rule.owner == Owner.HERE or not _writable(rule, dataset):
        return None
    if rule.owner in SHARED:
        tidy = all(step["name"] in TIDYING for step in rule.transforms)
        return replace(rule, transforms=()) if tidy else None
    back = backwards(rule)
    return None if back is None else replace(rule, transforms=back)
