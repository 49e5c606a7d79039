"""A checked mapping as functions of the row, made once and used for every record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

from syncline.contract.dataset import DatasetInfo
from syncline.contract.normalise import NORMALISERS
from syncline.contract.values import Code, ObjectType, Property, Value

from .canonical import plain_number
from .check import check_mapping
from .content import MappingContent, Mode, digest_of
from .expressions import EvaluationFailed, Expression
from .problems import FieldProblem, MappingInvalid, Problem, shorten
from .rules import CompiledAssociation, CompiledRule, NoValue, Row, compile_rule

if TYPE_CHECKING:
    from .inbound import InboundMapping


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the mapping makes of one row.

    `properties`: canonical, valid values by target; a target whose rule failed is missing here and named in `problems`.
    `references`: object type → local keys of records of the dataset in `CompiledMapping.references`.
    `held`: why a property is left as it is in this record, while all else is delivered; see `drift`.
    `included`: the filter is true. `undecided`: the filter failed, so that the record is neither in nor out; it is then
    not included either, and must not be treated as one that left.
    """

    properties: dict[str, Value] = field(default_factory=dict)
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)
    included: bool = True
    problems: tuple[FieldProblem, ...] = ()
    undecided: bool = False
    held: tuple[FieldProblem, ...] = ()


_EXCLUDED: Final = Mapped(included=False)


@dataclass(frozen=True, slots=True)
class CompiledMatchStep:
    rule: CompiledRule
    normalise: Callable[[str], str]


class CompiledMapping:
    """Safe to share between threads.

    `fields`: dataset fields to read, in the dataset's order; `match_fields`: those that `match_values` needs.
    `rules`: property rules that push, by target; `matched`: those by which records are found, whichever way they go.
    `owners`: whose value of a property holds, for those that both sides may change.
    `references`: object type → key of the dataset its records come from.
    `suspended`: rules left out because their property changed, each with what to do about it; see `drift`. What is there in
    the properties `unsure` is not known any more.
    `inbound`: the same mapping in the pull direction, where it has one.
    `digest`: changes with the content and with the definitions of the properties it writes.
    """

    def __init__(
        self,
        content: MappingContent,
        dataset: DatasetInfo,
        rules: Mapping[str, CompiledRule],
        associations: tuple[CompiledAssociation, ...],
        filter: Expression | None,
        suspended: tuple[Problem, ...] = (),
        matched: Mapping[str, CompiledRule] | None = None,
    ) -> None:
        self.content = content
        self.rules = rules
        self.owners: Mapping[str, str] = {rule.target: rule.owner for rule in content.rules if rule.pushes and rule.pulls}
        self.associations = associations
        self.suspended = suspended
        self.unsure = frozenset(problem.target for problem in suspended) - rules.keys()
        self.references: Mapping[str, str] = {a.object_type: a.dataset for a in associations}
        self.digest = digest_of([content.to_json(), [asdict(rule.prop) for rule in rules.values()]])
        self.inbound: InboundMapping | None = None
        self._filter = filter
        self._values = tuple((target, rule.value) for target, rule in rules.items())
        found_by = {**(matched or {}), **rules}
        self._match = tuple(CompiledMatchStep(found_by[s.property], NORMALISERS[s.normalise]) for s in content.match.steps)
        needed = {name for rule in rules.values() for name in rule.fields} | {a.field for a in associations}
        needed |= {name for step in self._match for name in step.rule.fields}
        self.fields = _in_order(dataset, needed | set(filter.needs if filter else ()))
        self.match_fields = _in_order(dataset, {name for step in self._match for name in step.rule.fields})

    def map(self, row: Row) -> Mapped:
        """Raises KeyError when the row lacks one of `fields`; everything else becomes a problem."""
        if self._filter is not None and (outside := _outside(self._filter, row)) is not None:
            return outside
        properties: dict[str, Value] = {}
        problems: list[FieldProblem] = []
        held: list[FieldProblem] = []
        for target, value in self._values:
            try:
                properties[target] = value(row)
            except NoValue as error:
                (held if error.held else problems).append(error.problem)
        references = {a.object_type: a.keys(row) for a in self.associations}
        return Mapped(properties, references, True, tuple(problems), held=tuple(held))

    def match_values(self, row: Row) -> tuple[tuple[int, str], ...]:
        """Step index and normalised value, in the order of the steps; a step whose value is empty or invalid gives none."""
        found: dict[tuple[int, str], None] = {}
        for index, step in enumerate(self._match):
            for text in _texts(step.rule, row):
                if normalised := step.normalise(text):
                    found[index, normalised] = None
        return tuple(found)


def compile_mapping(
    content: MappingContent,
    dataset: DatasetInfo,
    object_type: ObjectType,
    suspended: tuple[Problem, ...] = (),
    *,
    published: bool = False,
    adapt: Callable[[CompiledRule], CompiledRule] = lambda rule: rule,
) -> CompiledMapping:
    """Raises MappingInvalid, which lists all that is wrong. `published`: see `check_mapping`; `adapt`: see `drift`."""
    if problems := check_mapping(content, dataset, object_type, published=published):
        raise MappingInvalid(problems)
    creates = content.mode != Mode.UPDATE
    properties = {prop.name: prop for prop in object_type.properties}
    rules = {
        rule.target: adapt(compile_rule(rule, properties[rule.target], dataset, creates))
        for rule in content.rules
        if rule.pushes and not rule.association
    }
    associations = tuple(
        CompiledAssociation(rule.target, f.reference, f.name)
        for rule in content.rules
        if rule.pushes and rule.association and (f := dataset.field(rule.source)) is not None
    )
    names = [f.name for f in dataset.fields]
    expression = Expression(content.filter, names) if content.filter and content.pushes else None
    matched = _matched(content, properties, dataset)
    return CompiledMapping(content, dataset, rules, associations, expression, suspended, matched)


def _matched(content: MappingContent, properties: Mapping[str, Property], dataset: DatasetInfo) -> dict[str, CompiledRule]:
    """Rules that only pull, the other way round and as they are: by these fields our records are found."""
    steps = {step.property for step in content.match.steps}
    plain = [replace(rule, transforms=()) for rule in content.rules if rule.target in steps and not rule.pushes]
    return {rule.target: compile_rule(rule, properties[rule.target], dataset, creates=False) for rule in plain}


def _in_order(dataset: DatasetInfo, names: set[str]) -> tuple[str, ...]:
    return tuple(f.name for f in dataset.fields if f.name in names)


def _texts(rule: CompiledRule, row: Row) -> tuple[str, ...]:
    try:
        value = rule.value(row)
    except NoValue:
        return ()
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (value if isinstance(value, str) else plain_number(value),)


def _outside(expression: Expression, row: Row) -> Mapped | None:
    """None when the filter is true."""
    try:
        answer = expression(row)
    except EvaluationFailed as error:
        return _undecided(expression, f"has no value for this record: {error}")
    if answer is True:
        return None
    return _EXCLUDED if answer is False else _undecided(expression, f"gives “{shorten(answer)}”, neither true nor false")


def _undecided(expression: Expression, reason: str) -> Mapped:
    message = (
        f"The filter “{shorten(expression.source)}” {reason}. The record is left as it is. "
        "Change the filter so that it allows for such records, e.g. with “!= null &&”."
    )
    problem = FieldProblem("", "filter", "", Code.INVALID_VALUE, message)
    return Mapped(included=False, problems=(problem,), undecided=True)
