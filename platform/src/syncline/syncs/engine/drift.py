"""A published mapping against a catalog that has moved on."""

from __future__ import annotations

from dataclasses import replace

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import ObjectType

from .compile import CompiledMapping, compile_mapping
from .content import MappingContent, RuleContent
from .problems import MappingInvalid, Problem


def compile_published(content: MappingContent, dataset: DatasetInfo, object_type: ObjectType) -> CompiledMapping:
    """Leaves out rules whose property or association the account has lost or closed, and goes on with the others;
    `CompiledMapping.suspended` names them.

    Raises MappingInvalid for all else, and when a match step stands on a lost property: without that step, records that are
    there already would be created again.
    """
    lost = {index: reason for index, rule in enumerate(content.rules) if (reason := _loss(rule, object_type))}
    suspended = tuple(Problem(f"Rule “{content.rules[index].label}”", reason) for index, reason in lost.items())
    matched = {step.property for step in content.match.steps}
    if any(content.rules[index].target in matched and not content.rules[index].association for index in lost):
        raise MappingInvalid(suspended)
    kept = replace(content, rules=tuple(rule for index, rule in enumerate(content.rules) if index not in lost))
    return compile_mapping(kept, dataset, object_type, suspended)


def _loss(rule: RuleContent, object_type: ObjectType) -> str:
    advice = "The rule is suspended. Restore it there and refresh the catalog, or remove the rule and publish again."
    if rule.association:
        offered = rule.target in {one.object_type for one in object_type.associations}
        return "" if offered else f"“{object_type.key}” can no longer be associated with “{rule.target}”. {advice}"
    prop = object_type.property(rule.target)
    if prop is None:
        return f"“{object_type.key}” no longer has the property “{rule.target}”. {advice}"
    return f"The property “{rule.target}” is now read-only. {advice}" if prop.read_only else ""
