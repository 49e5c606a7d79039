"""A published mapping against definitions that have moved on since. Pure.

What is carried out is the published mapping without the fields that changed: a rule is suspended when its property or
association is gone, read-only now, or of another type than when the mapping was published. Where only choices are gone, the
rule goes on, and leaves its property alone in those records whose value is one of the choices that are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import Code, ObjectType, Property, Value

from .canonical import CANONICAL
from .compile import CompiledMapping, compile_mapping
from .content import MappingContent, RuleContent
from .expressions import EvaluationFailed
from .inbound import compile_inbound
from .problems import FieldProblem, MappingInvalid, Problem, Unmappable, listed, shorten
from .rules import CompiledRule, NoValue, Row

#: What a mapping version keeps of each property that it writes, by name: label, kind and choices when it was published.
Definitions = Mapping[str, Mapping[str, Any]]

_RESTORE: Final = "Restore it there and refresh the catalog, or remove the rule and publish again."
#: Instead of "The rule is suspended." and besides the remedy, when match steps use the property.
MATCHED: Final = "Records are found by this property: the sync cannot run without it."
STEP_TOO: Final = "Without the rule, its match step has to be deleted too."
_ACCEPT: Final = "Publish the mapping again to write the new type, or change the rule first."


@dataclass(frozen=True, slots=True)
class Drifted:
    """What happened to the target of one rule.

    `aspect`: removed, read_only, kind or choices. `suspends`: the whole rule; choices that are gone suspend it only in records
    that have one of them (`gone`). `sentence`: what changed; `remedy`: what a person can do.
    """

    rule: RuleContent
    aspect: str
    sentence: str
    remedy: str
    gone: frozenset[str] = frozenset()

    @property
    def effect(self) -> str:
        """What happens in runs meanwhile."""
        if self.suspends:
            return "The rule is suspended."
        values = "one of these values" if len(self.gone) > 1 else "this value"
        return f"In records with {values} it is left as it is; all else is delivered."

    @property
    def suspends(self) -> bool:
        return self.aspect != "choices"

    @property
    def target(self) -> str:
        return self.rule.target

    @property
    def problem(self) -> Problem:
        return Problem(f"Rule “{self.rule.label}”", f"{self.sentence} {self.effect} {self.remedy}", self.target)

    @property
    def stopping(self) -> Problem:
        """Instead of `problem`, when match steps use the property."""
        return Problem(f"Rule “{self.rule.label}”", f"{self.sentence} {MATCHED} {self.remedy} {STEP_TOO}", self.target)


def definitions(content: MappingContent, object_type: ObjectType) -> dict[str, dict[str, Any]]:
    """What is kept when this mapping is published: plain JSON."""
    targets = {rule.target for rule in content.rules if not rule.association}
    return {prop.name: _definition(prop) for prop in object_type.properties if prop.name in targets}


def _definition(prop: Property) -> dict[str, Any]:
    return {"label": prop.label, "kind": str(prop.kind), "choices": sorted(choice.value for choice in prop.choices)}


def accepted(published: Definitions, now: Definitions) -> bool:
    """Whether these definitions are the published ones, whatever their labels."""
    return {name: _essence(one) for name, one in published.items()} == {name: _essence(one) for name, one in now.items()}


def _essence(one: Mapping[str, Any]) -> tuple[Any, Any]:
    return one["kind"], one["choices"]


def drifted(
    content: MappingContent, dataset: DatasetInfo, object_type: ObjectType, published: Definitions
) -> tuple[Drifted, ...]:
    """What changed about the rules' targets, in the order of the rules. `published` may lack what nobody kept."""
    found = (_drift(rule, dataset, object_type, published.get(rule.target)) for rule in content.rules)
    return tuple(one for one in found if one is not None)


def compile_published(
    content: MappingContent, dataset: DatasetInfo, object_type: ObjectType, published: Definitions | None = None
) -> CompiledMapping:
    """Leaves out what changed, and goes on with the rest; `CompiledMapping.suspended` names the rules left out.

    Raises MappingInvalid for all else, and when a match step stands on a property that changed: without that step, records
    that are there already would be created again.
    """
    changes = drifted(content, dataset, object_type, published or {})
    lost = [one for one in changes if one.suspends]
    if fatal := [one.stopping for one in changes if matches(content, one)]:
        raise MappingInvalid(fatal)
    left_out = {id(one.rule) for one in lost}
    kept = replace(content, rules=tuple(rule for rule in content.rules if id(rule) not in left_out))
    if lost and not kept.rules:
        raise MappingInvalid(one.problem for one in lost)
    gone = {one.target: one for one in changes if not one.suspends}
    compiled = compile_mapping(
        kept,
        dataset,
        object_type,
        tuple(one.problem for one in lost),
        published=True,
        adapt=lambda rule: _holding(rule, gone[rule.target]) if rule.target in gone else rule,
    )
    compiled.inbound = compile_inbound(kept, dataset, object_type) if kept.pulls else None
    return compiled


def matches(content: MappingContent, change: Drifted) -> bool:
    """Whether records are found by what changed: then nothing can go on without it."""
    return not change.rule.association and change.target in {step.property for step in content.match.steps}


def _drift(rule: RuleContent, dataset: DatasetInfo, object_type: ObjectType, before: Mapping[str, Any] | None) -> Drifted | None:
    if rule.association:
        return _lost_association(rule, object_type)
    prop = object_type.property(rule.target)
    if prop is None:
        return Drifted(rule, "removed", _removed(rule, object_type, before), _RESTORE)
    if prop.read_only and rule.pushes:
        return Drifted(rule, "read_only", f"The property “{rule.target}” is now read-only.", _RESTORE)
    if before is None:
        return None
    if before["kind"] != prop.kind:
        sentence = (
            f"The property “{rule.target}” was of type {before['kind']} when the mapping was published; it is {prop.kind} now."
        )
        return Drifted(rule, "kind", sentence, _ACCEPT)
    return _lost_choices(rule, dataset, prop, frozenset(before["choices"])) if rule.pushes else None


def _lost_association(rule: RuleContent, object_type: ObjectType) -> Drifted | None:
    if rule.target in {one.object_type for one in object_type.associations}:
        return None
    sentence = f"“{object_type.key}” can no longer be associated with “{rule.target}”."
    return Drifted(rule, "removed", sentence, _RESTORE)


def _removed(rule: RuleContent, object_type: ObjectType, before: Mapping[str, Any] | None) -> str:
    sentence = f"“{object_type.key}” no longer has the property “{rule.target}”."
    twins = [prop.name for prop in object_type.properties if before and prop.label == before["label"] and not prop.read_only]
    return f"{sentence} “{listed(twins)}” has the same label: perhaps it was renamed." if twins else sentence


def _lost_choices(rule: RuleContent, dataset: DatasetInfo, prop: Property, before: frozenset[str]) -> Drifted | None:
    """None when the rule can give none of the choices that are gone."""
    gone = before - {choice.value for choice in prop.choices}
    possible = _possible(rule, dataset)
    gone = gone if possible is None else gone & possible
    if not gone:
        return None
    sentence = f"The property “{rule.target}” no longer has the choice{'s' if len(gone) > 1 else ''} {listed(sorted(gone))}."
    remedy = (
        "Add the choice there again and refresh the catalog, or map the value to another one (transform choice_map) and publish "
        "again. Published as it is, the mapping has records with such a value rejected."
    )
    return Drifted(rule, "choices", sentence, remedy, gone)


def _possible(rule: RuleContent, dataset: DatasetInfo) -> frozenset[str] | None:
    """The values a rule can give, None when that cannot be told: a field with choices of its own gives only these."""
    field = dataset.field(rule.source)
    if field is None or rule.transforms or rule.expression or not field.choices:
        return None
    return frozenset(choice.value for choice in field.choices)


def _holding(rule: CompiledRule, change: Drifted) -> CompiledRule:
    """The rule, with no value for records that would get a choice that is gone."""

    def value(row: Row) -> Value:
        try:
            found = rule.value(row)
        except NoValue:
            if not _members(_unchecked(rule, row)) & change.gone:
                raise
            raise _held(rule, change, row) from None
        if _members(found) & change.gone:  # an account without any choices left takes every value, it says
            raise _held(rule, change, row)
        return found

    return replace(rule, value=value)


def _unchecked(rule: CompiledRule, row: Row) -> Value:
    try:
        return CANONICAL[rule.prop.kind](rule.transformed(row))
    except (Unmappable, EvaluationFailed):
        return None


def _members(value: Value) -> frozenset[Any]:
    return frozenset(value) if isinstance(value, tuple) else frozenset((value,))


def _held(rule: CompiledRule, change: Drifted, row: Row) -> NoValue:
    gone = listed(sorted(str(one) for one in _members(_unchecked(rule, row)) & change.gone))
    message = (
        f"Rule “{rule.label}”: the account no longer offers the choice “{gone}” of “{rule.target}”. "
        "It was left as it is there; all else was delivered."
    )
    return NoValue(FieldProblem(rule.target, rule.label, shorten(gone), Code.INVALID_CHOICE, message), held=True)
