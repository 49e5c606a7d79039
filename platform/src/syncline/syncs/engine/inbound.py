"""A mapping in the pull direction: functions of a remote record's properties that give values for a dataset's fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import Code, ObjectType, Value

from .canonical import digest, fingerprint
from .compile import Mapped
from .content import MappingContent, Mode, WriteMode, digest_of
from .expressions import EvaluationFailed, Expression
from .problems import FieldProblem, shorten
from .rules import CompiledRule, NoValue, Row, compile_rule
from .sides import as_dataset, as_object, turned

MAPPED_BY: Final = "="
"""Key, among the fingerprints of what was seen, of the digest over all of it and the mapping that it was pulled by."""


@dataclass(frozen=True, slots=True)
class InboundRule:
    """The property `remote` → `field`; `rule.value(properties)` is the field's value, canonical and valid, or raises NoValue."""

    remote: str
    field: str
    owner: str
    rule: CompiledRule

    @property
    def only_new(self) -> bool:
        return self.rule.write_mode == WriteMode.IF_NEW

    @property
    def only_empty(self) -> bool:
        return self.rule.write_mode == WriteMode.IF_EMPTY


@dataclass(frozen=True, slots=True)
class InboundReference:
    """Associations with `object_type` → the local keys, in `dataset`, of the records linked to them, in `field`.

    `pushed`: so are ours there.
    """

    object_type: str
    dataset: str
    field: str
    many: bool
    required: bool
    pushed: bool = False


class InboundMapping:
    """Safe to share between threads.

    `properties`: what has to be asked for, those that identify a record included. `digest`: changes with what it does.
    """

    def __init__(
        self,
        content: MappingContent,
        rules: tuple[InboundRule, ...],
        references: tuple[InboundReference, ...],
        filter: Expression | None,
        properties: tuple[str, ...],
    ) -> None:
        self.rules, self.references, self.properties = rules, references, properties
        self.digest = digest_of(
            [content.to_json(), [(r.remote, r.field, str(r.rule.prop.kind)) for r in rules], [r.field for r in references]]
        )
        self._filter, self._read = filter, [(one, one.remote, one.rule.value) for one in rules]

    def map(self, properties: Mapping[str, Value]) -> Mapped:
        """Values by field. What is missing is not known there any more, and left alone here; only a new record may need it."""
        row = {name: properties.get(name) for name in self.properties}
        if self._filter is not None and (outside := _outside(self._filter, row)) is not None:
            return outside
        values: dict[str, Value] = {}
        problems: list[FieldProblem] = []
        for one, remote, read in self._read:
            try:
                if type(row[remote]) not in _PLAIN:
                    _refuse_odd(one, row[remote])
                value = read(row)
                if remote in properties:
                    values[one.field] = value
            except NoValue as error:
                problems.append(error.problem)
        return Mapped(values, {}, True, tuple(problems))

    def seen(self, properties: Mapping[str, Value]) -> dict[str, str]:
        """Fingerprints of what the rules read; `map` refuses what can have none."""
        try:
            return {one.remote: fingerprint(properties.get(one.remote)) for one in self.rules}
        except _ODD:
            return {one.remote: _print(properties.get(one.remote)) for one in self.rules}

    def brief(self, properties: Mapping[str, Value], references: Mapping[str, tuple[str, ...]]) -> str:
        """One digest over all that the rules read, for records of which nothing finer is kept."""
        read = self.seen(properties) | {f"→{name}": ",".join(ids) for name, ids in references.items()}
        return digest({**read, MAPPED_BY: self.digest})


_ODD: Final = (ValueError, TypeError, ArithmeticError, AttributeError)
_PLAIN: Final = frozenset({str, bool, type(None)})


def _print(value: Value) -> str:
    try:
        return fingerprint(value)
    except _ODD:
        return fingerprint(repr(value))


def _refuse_odd(rule: InboundRule, value: Value) -> None:
    """NoValue for what is no value of the contract: a connector's fault, which costs this record and no other."""
    try:
        fingerprint(value)
    except _ODD:
        kind, said = type(value).__name__, shorten(value)
        told = f"“{rule.remote}” came as “{said}” ({kind}), which is no value. Report it to the connector's author."
        problem = FieldProblem(rule.field, f"Rule {rule.remote} → {rule.field}", said, Code.INVALID_VALUE, told)
        raise NoValue(problem) from None


def _outside(expression: Expression, row: Row) -> Mapped | None:
    try:
        answer = expression(row)
    except EvaluationFailed as error:
        problem = FieldProblem(
            "", "filter", "", Code.INVALID_VALUE, f"The filter has no value for this record: {error}. {_ALLOW}"
        )
        return Mapped(included=False, problems=(problem,), undecided=True)
    return None if answer is True else Mapped(included=False)


_ALLOW: Final = "Change the filter so that it allows for such records, e.g. with “!= null &&”."


def compile_inbound(content: MappingContent, dataset: DatasetInfo, object_type: ObjectType) -> InboundMapping:
    """`content` was checked (see `check_pull`), and holds nothing that has gone from the account since."""
    record, target = as_dataset(object_type), as_object(dataset)
    fields = {prop.name: prop for prop in target.properties}
    creates = content.mode != Mode.UPDATE
    pulling = [rule for rule in content.rules if rule.pulls]
    rules = tuple(
        InboundRule(rule.target, rule.source, rule.owner, compile_rule(turned(rule), fields[rule.source], record, creates))
        for rule in pulling
        if not rule.association
    )
    references = tuple(
        InboundReference(rule.target, f.reference, f.name, f.many, f.required, rule.pushes and content.pushes)
        for rule in pulling
        if rule.association and (f := dataset.field(rule.source)) is not None
    )
    names = [prop.name for prop in object_type.properties]
    filter_ = Expression(content.filter, names) if content.filter and not content.pushes else None
    return InboundMapping(content, rules, references, filter_, _asked(content, rules, filter_, object_type))


def _asked(
    content: MappingContent, rules: tuple[InboundRule, ...], filter_: Expression | None, object_type: ObjectType
) -> tuple[str, ...]:
    wanted = dict.fromkeys(rule.remote for rule in rules)
    wanted |= dict.fromkeys(name for step in content.match.steps for name in (step.property, *step.also))
    wanted |= dict.fromkeys(filter_.needs if filter_ else ())
    wanted |= dict.fromkeys([object_type.unique_key] if object_type.unique_key else [])
    return tuple(name for name in wanted if object_type.property(name) is not None)
