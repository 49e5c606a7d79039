"""One field rule as a function of the row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import Code, Kind, Property, Value

from .canonical import CANONICAL
from .content import NullPolicy, RuleContent, WriteMode
from .expressions import EvaluationFailed, Expression
from .problems import FieldProblem, Unmappable, shorten
from .transforms import compile_steps
from .validation import Check, checks

Row = Mapping[str, object]


class NoValue(Exception):
    """A rule has no value for a row. `held`: no fault of the row; its property is left alone, see `drift`."""

    def __init__(self, problem: FieldProblem, held: bool = False) -> None:
        super().__init__(problem.message)
        self.problem, self.held = problem, held


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """`value(row)` is canonical and valid, or raises NoValue."""

    target: str
    label: str
    prop: Property
    fields: tuple[str, ...]
    write_mode: str
    null_policy: str
    value: Callable[[Row], Value]
    source: Callable[[Row], object]
    transformed: Callable[[Row], object]


@dataclass(frozen=True, slots=True)
class CompiledAssociation:
    """`keys(row)`: local keys of the records of `dataset` to associate with."""

    object_type: str
    dataset: str
    field: str

    def keys(self, row: Row) -> tuple[str, ...]:
        value = row[self.field]
        if value is None or value == "":
            return ()
        if isinstance(value, list | tuple | set | frozenset):
            return tuple(sorted({str(item) for item in value if item is not None and item != ""}))
        return (str(value),)


def compile_rule(rule: RuleContent, prop: Property, dataset: DatasetInfo, creates: bool) -> CompiledRule:
    """Compiles a rule that was checked. `creates`: the mode may create records, so that required values are required."""
    source, fields = _source(rule, dataset)
    transformed = _with_steps(source, rule)
    required = prop.required and (creates or rule.null_policy == NullPolicy.CLEAR)
    tests = checks(prop)
    value = _value(rule, prop, source, transformed, tests, required)
    if not rule.expression and transformed is source:
        value = _straight(rule.source, prop, tests, value)
    return CompiledRule(
        rule.target,
        rule.label,
        prop,
        fields,
        WriteMode(rule.write_mode),
        NullPolicy(rule.null_policy),
        value,
        source,
        transformed,
    )


def _source(rule: RuleContent, dataset: DatasetInfo) -> tuple[Callable[[Row], object], tuple[str, ...]]:
    if not rule.expression:
        name = rule.source
        return (lambda row: row[name]), (name,)
    expression = Expression(rule.expression, [field.name for field in dataset.fields])
    return expression, expression.needs


def _with_steps(source: Callable[[Row], object], rule: RuleContent) -> Callable[[Row], object]:
    steps = compile_steps(rule.transforms)
    return source if steps is None else lambda row: steps(source(row))


def _straight(name: str, prop: Property, tests: tuple[Check, ...], value: Callable[[Row], Value]) -> Callable[[Row], Value]:
    """`value`, with a short way for what comes as it is to go: most values of most messages."""
    longest = prop.schema.get("maxLength")
    if len(tests) != isinstance(longest, int):
        return value
    if prop.kind is Kind.BOOLEAN and not tests:
        return lambda row: found if type(found := row[name]) is bool else value(row)
    if prop.kind is not Kind.STRING:
        return value
    most = longest if isinstance(longest, int) else sys.maxsize

    def text(row: Row) -> Value:
        found = row[name]
        return found if type(found) is str and found.isascii() and 0 < len(found) <= most else value(row)

    return text


def _value(
    rule: RuleContent,
    prop: Property,
    source: Callable[[Row], object],
    transformed: Callable[[Row], object],
    tests: tuple[Check, ...],
    required: bool,
) -> Callable[[Row], Value]:
    convert = CANONICAL[prop.kind]

    def value(row: Row) -> Value:
        try:
            found = convert(transformed(row))
            if found is None:
                if required:
                    raise _missing(prop)
                return None
            for test in tests:
                test(found)
            return found
        except Unmappable as error:
            raise NoValue(_problem(rule, prop, source, row, error)) from None
        except EvaluationFailed as error:
            raise NoValue(_failed(rule, prop, error)) from None

    return value


def _missing(prop: Property) -> Unmappable:
    return Unmappable(
        f"The value is empty, but “{prop.name}” needs one.",
        "Fill it in in the record, or add the transform “default” to the rule.",
        Code.REQUIRED,
    )


def _problem(rule: RuleContent, prop: Property, source: Callable[[Row], object], row: Row, error: Unmappable) -> FieldProblem:
    return FieldProblem(
        prop.name, rule.label, shorten(source(row)), error.code, f"Rule “{rule.label}”: {error.reason} {error.advice}"
    )


def _failed(rule: RuleContent, prop: Property, error: EvaluationFailed) -> FieldProblem:
    message = (
        f"Rule “{rule.label}”: the expression “{shorten(rule.expression)}” has no value for this record: {error}. "
        "Change the expression so that it allows for such records, e.g. with “== null ?”."
    )
    return FieldProblem(prop.name, rule.label, "", Code.INVALID_VALUE, message)
