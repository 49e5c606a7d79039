"""What a draft would make of one row, rule by rule; rules that are wrong do not hide the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import ObjectType, RemoteRecord, Value

from .check import check_mapping, check_rule
from .compile import CompiledMapping, Mapped, compile_mapping
from .content import MappingContent, Mode, RuleContent
from .expressions import EvaluationFailed
from .inbound import InboundReference, compile_inbound
from .problems import MappingInvalid, Problem, Unmappable, shorten
from .rules import CompiledRule, NoValue, Row


@dataclass(frozen=True, slots=True)
class RulePreview:
    """`source`: as read; `mapped`: after the transforms; both shortened. `value`: canonical, None when `problem` says why."""

    target: str
    label: str
    association: bool = False
    source: str = ""
    mapped: str = ""
    value: Value = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """`included`: by the filter and the segment. `problems`: those of the mapping, as before publishing."""

    local_key: str
    included: bool
    rules: tuple[RulePreview, ...]
    problems: tuple[Problem, ...]
    match_values: tuple[tuple[int, str], ...] = ()
    references: tuple[tuple[str, tuple[str, ...]], ...] = ()


class PreviewPlan:
    """`fields`: what must be read for `show`."""

    def __init__(self, content: MappingContent, dataset: DatasetInfo, object_type: ObjectType) -> None:
        self.content = content
        self.problems = check_mapping(content, dataset, object_type)
        self._wrong = {
            index: found
            for index, rule in enumerate(content.rules)
            if (found := " ".join(problem.message for problem in check_rule(rule, dataset, object_type)))
        }
        self._compiled = _usable(content, set(self._wrong), dataset, object_type)
        self.fields = self._compiled.fields if self._compiled else ()

    def show(self, local_key: str, row: Row) -> Preview:
        if self._compiled is None:
            return Preview(local_key, False, tuple(map(self._unusable, range(len(self.content.rules)))), self.problems)
        mapped = self._compiled.map(row)
        rules = tuple(self._rule(index, rule, row, mapped) for index, rule in enumerate(self.content.rules))
        failed = tuple(Problem("Filter", problem.message) for problem in mapped.problems if not problem.target)
        match_values = self._compiled.match_values(row)
        return Preview(local_key, mapped.included, rules, self.problems + failed, match_values, tuple(mapped.references.items()))

    def _unusable(self, index: int) -> RulePreview:
        rule = self.content.rules[index]
        return RulePreview(rule.target, rule.label, rule.association, problem=self._wrong.get(index, ""))

    def _rule(self, index: int, rule: RuleContent, row: Row, mapped: Mapped) -> RulePreview:
        if index in self._wrong or self._compiled is None:
            return self._unusable(index)
        if rule.association:
            keys = mapped.references.get(rule.target, ())
            return RulePreview(rule.target, rule.label, True, shorten(row[rule.source]), ", ".join(keys), keys)
        return _previewed(self._compiled.rules[rule.target], row)


class PullPreviewPlan:
    """The same in the pull direction. `properties`, `associations`: what must be asked for before `show`."""

    def __init__(self, content: MappingContent, dataset: DatasetInfo, object_type: ObjectType) -> None:
        self.problems = check_mapping(content, dataset, object_type)
        pulling = tuple(rule for rule in content.rules if rule.pulls)
        wrong = {index for index, rule in enumerate(pulling) if any(check_rule(rule, dataset, object_type))}
        kept = replace(content, rules=tuple(rule for index, rule in enumerate(pulling) if index not in wrong))
        self._wrong = tuple(rule for index, rule in enumerate(pulling) if index in wrong)
        self._inbound = compile_inbound(replace(kept, filter="") if _filter_fails(self.problems) else kept, dataset, object_type)
        self.properties = self._inbound.properties
        self.associations = tuple(dict.fromkeys(one.object_type for one in self._inbound.references))

    def show(self, record: RemoteRecord) -> Preview:
        row = {name: record.properties.get(name) for name in self.properties}
        mapped = self._inbound.map(row)
        rules = [
            replace(_previewed(one.rule, row), target=one.field, label=f"{one.remote} → {one.field}")
            for one in self._inbound.rules
        ]
        rules += [_referred(one, record) for one in self._inbound.references]
        rules += [
            RulePreview(rule.source, rule.label, problem="The rule is wrong; see the problems above.") for rule in self._wrong
        ]
        failed = tuple(Problem("Filter", problem.message) for problem in mapped.problems if not problem.target)
        return Preview(record.id, mapped.included, tuple(rules), self.problems + failed)


def _filter_fails(problems: tuple[Problem, ...]) -> bool:
    return any(problem.where == "Filter" for problem in problems)


def _referred(one: InboundReference, record: RemoteRecord) -> RulePreview:
    ids = record.associations.get(one.object_type, ())
    shown = ", ".join(ids)
    label = f"association with {one.object_type} → {one.field}"
    return RulePreview(one.field, label, True, shown, shown, tuple(f"ours of {id_}" for id_ in ids))


def _usable(content: MappingContent, wrong: set[int], dataset: DatasetInfo, object_type: ObjectType) -> CompiledMapping | None:
    """The mapping without what is wrong: each rule to a target twice counts once, steps without a rule do not count."""
    first: dict[tuple[bool, str], RuleContent] = {}
    for index, rule in enumerate(content.rules):
        if index not in wrong:
            first.setdefault((rule.association, rule.target), rule)
    kept = replace(content, rules=tuple(first.values()), segment="", mode=Mode.UPDATE)
    candidates = (kept, replace(kept, match=type(content.match)()), replace(kept, match=type(content.match)(), filter=""))
    for candidate in candidates:
        try:
            return compile_mapping(candidate, dataset, object_type)
        except MappingInvalid:
            continue
    return None


def _previewed(rule: CompiledRule, row: Row) -> RulePreview:
    source, mapped = _attempt(partial(rule.source, row)), _attempt(partial(rule.transformed, row))
    try:
        return RulePreview(rule.target, rule.label, False, source, mapped, rule.value(row))
    except NoValue as error:
        return RulePreview(rule.target, rule.label, False, source, mapped, None, error.problem.message)


def _attempt(work: Callable[[], object]) -> str:
    try:
        value = work()
    except (Unmappable, EvaluationFailed):
        return ""
    return "" if value is None else shorten(value)


__all__ = ["Preview", "PreviewPlan", "PullPreviewPlan", "RulePreview"]
