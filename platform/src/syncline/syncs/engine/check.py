"""Everything that is wrong with a mapping, found before it is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from syncline.contract.dataset import DatasetInfo, Field
from syncline.contract.mapping import MatchStep
from syncline.contract.normalise import NORMALISERS
from syncline.contract.values import Kind, ObjectType, Op, Property

from .check_pull import check_pull, inbound_complaints
from .content import MappingContent, Mode, NullPolicy, Owner, RuleContent, WriteMode
from .expressions import Expression, Refused
from .problems import Problem, listed
from .sides import as_dataset
from .transforms import TRANSFORMS, options_of
from .validation import SchemaUnusable, checks

_NUMERIC: Final = frozenset({Kind.NUMBER})
_TEMPORAL: Final = frozenset({Kind.DATE, Kind.DATETIME})
#: Kinds of property a field's values can never become without a transform, and the transform that helps.
_NEVER: Final[Mapping[Kind, tuple[frozenset[Kind], str]]] = {
    Kind.DATE: (_NUMERIC | {Kind.BOOLEAN, Kind.EMAIL}, "epoch_ms"),
    Kind.DATETIME: (_NUMERIC | {Kind.BOOLEAN, Kind.EMAIL}, "epoch_ms"),
    Kind.NUMBER: (_TEMPORAL | {Kind.EMAIL}, "epoch_ms"),
    Kind.BOOLEAN: (_TEMPORAL | _NUMERIC | {Kind.EMAIL}, "number"),
}


def check_mapping(
    content: MappingContent, dataset: DatasetInfo, object_type: ObjectType, *, published: bool = False
) -> tuple[Problem, ...]:
    """All problems, those of the rules first, in their order.

    `published`: it was in order once. What the account requires since then is no reason to stop: it refuses new records
    without it one by one, and the others go on.
    """
    return (
        *(problem for rule in content.rules for problem in check_rule(rule, dataset, object_type)),
        *_targets(content),
        *(() if published or not content.pushes else _required(content, object_type)),
        *(check_pull(content, dataset, log=object_type.log) if content.pulls else ()),
        *(p for number, step in enumerate(content.match.steps, 1) for p in _step(number, step, content, object_type)),
        *_settings(content, dataset, object_type),
    )


def check_rule(rule: RuleContent, dataset: DatasetInfo, object_type: ObjectType) -> Iterator[Problem]:
    """What is wrong with this rule by itself."""
    where = f"Rule “{rule.label}”"
    specific = _association(rule, dataset, object_type) if rule.association else _property_rule(rule, dataset, object_type)
    incoming = inbound_complaints(rule, dataset, object_type) if rule.owner in set(Owner) and rule.pulls else ()
    for message in (*_origin(rule, dataset), *specific, *incoming, *_enumerations(rule)):
        yield Problem(where, message)


def _origin(rule: RuleContent, dataset: DatasetInfo) -> Iterator[str]:
    if bool(rule.source) == bool(rule.expression):
        yield "It needs either a field or an expression" + (", not both. Remove one." if rule.source else ". Choose one.")
    elif rule.source and dataset.field(rule.source) is None:
        yield f"The dataset has no field “{rule.source}”. Choose one of {listed(f.name for f in dataset.fields)}."
    elif rule.expression and not rule.association and (complaint := _expression(rule.expression, dataset)):
        yield complaint


def _expression(source: str, dataset: DatasetInfo) -> str:
    try:
        Expression(source, [field.name for field in dataset.fields])
    except Refused as error:
        return f"The expression cannot be used. {error} Correct the expression."
    return ""


def _enumerations(rule: RuleContent) -> Iterator[str]:
    if rule.write_mode not in set(WriteMode):
        yield f"There is no write mode “{rule.write_mode}”. Choose one of {listed(WriteMode)}."
    if rule.owner not in set(Owner):
        yield f"Nobody called “{rule.owner}” can decide. Choose one of {listed(Owner)}."
    if rule.null_policy not in set(NullPolicy):
        yield f"There is no null policy “{rule.null_policy}”. Choose one of {listed(NullPolicy)}."


def _association(rule: RuleContent, dataset: DatasetInfo, object_type: ObjectType) -> Iterator[str]:
    offered = [a.object_type for a in object_type.associations]
    if rule.target not in offered:
        choice = (
            f"It can be associated with {listed(offered)}." if offered else "It can be associated with nothing; remove the rule."
        )
        yield f"“{object_type.key}” cannot be associated with “{rule.target}”. {choice}"
    field = dataset.field(rule.source)
    if rule.expression or (field is not None and field.kind is not Kind.REFERENCE):
        fields = [f.name for f in dataset.fields if f.kind is Kind.REFERENCE]
        choice = f"Choose one of {listed(fields)}." if fields else "The dataset has none; remove the rule."
        yield f"An association needs a field that refers to another dataset. {choice}"
    if rule.transforms:
        yield "An association takes no transforms. Remove them."


def _property_rule(rule: RuleContent, dataset: DatasetInfo, object_type: ObjectType) -> Iterator[str]:
    yield from (message for step in rule.transforms for message in _transform(step))
    field = dataset.field(rule.source)
    if field is not None and field.kind is Kind.REFERENCE:
        yield f"The field “{field.name}” refers to another dataset. Mark the rule as an association, or choose another field."
        return
    prop = object_type.property(rule.target)
    if prop is None:
        yield _no_property(rule, object_type)
        return
    if rule.owner == Owner.THERE:
        return
    yield from _property(rule, prop)
    if field is not None and not rule.transforms and not rule.expression:
        yield from _kinds(field, prop)


def _no_property(rule: RuleContent, object_type: ObjectType) -> str:
    if not rule.target:
        return "It has no target. Choose a property."
    if rule.target in {a.object_type for a in object_type.associations}:
        return f"“{rule.target}” is an object, not a property. Mark the rule as an association."
    return f"“{object_type.key}” has no property “{rule.target}”. Create it in the account, or choose another."


def _property(rule: RuleContent, prop: Property) -> Iterator[str]:
    if prop.read_only:
        yield f"The property “{prop.name}” is read-only. Choose another, or remove the rule."
    if rule.write_mode == WriteMode.APPEND and prop.kind is not Kind.SET:
        yield f"Only sets can be added to, and “{prop.name}” holds one value ({prop.kind}). Choose another write mode."
    try:
        checks(prop)
    except SchemaUnusable as error:
        yield f"The definition of “{prop.name}” cannot be used: {error}. Refresh the catalog, or report it to the connector."


def _kinds(field: Field, prop: Property) -> Iterator[str]:
    if field.many and prop.kind is not Kind.SET:
        yield f"The field “{field.name}” is a list, and “{prop.name}” holds one value. Add the transform “join”."
    elif field.kind in _NEVER and prop.kind in _NEVER[field.kind][0]:
        help_with = _NEVER[field.kind][1]
        yield (
            f"The field “{field.name}” is a {field.kind}, which “{prop.name}” ({prop.kind}) does not take. "
            f"Add a transform (such as “{help_with}”), or choose another target."
        )


def _transform(step: Any) -> Iterator[str]:
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        yield 'A transform must be written as {"name": "…", options}. Correct the list of transforms.'
    elif (known := TRANSFORMS.get(step["name"])) is None:
        yield f"There is no transform “{step['name']}”. Choose one of {', '.join(TRANSFORMS)}."
    elif complaint := known.complaint(options_of(step)):
        yield f"The transform “{known.name}” has wrong options: {complaint}. Correct them."


def _targets(content: MappingContent) -> Iterator[Problem]:
    if not content.rules:
        yield Problem("Mapping", "It has no rules. Add one, or take the suggested mapping.")
    counts = Counter((rule.association, rule.target) for rule in content.rules)
    for (_, target), count in counts.items():
        if count > 1:
            labels = "; ".join(rule.label for rule in content.rules if rule.target == target)
            yield Problem(f"Target “{target}”", f"{count} rules write to it ({labels}). Keep one.")


def _required(content: MappingContent, object_type: ObjectType) -> Iterator[Problem]:
    if content.mode == Mode.UPDATE:
        return
    written = {rule.target for rule in content.rules if rule.pushes and not rule.association}
    for prop in object_type.properties:
        if prop.required and not prop.read_only and prop.name not in written:
            yield Problem(f"Property “{prop.name}”", "It is required in new records, but no rule writes it. Add a rule.")


def _step(number: int, step: MatchStep, content: MappingContent, object_type: ObjectType) -> Iterator[Problem]:
    where = f"Match step {number} (by {step.property or 'nothing'})"
    written = [rule.target for rule in content.rules if not rule.association]
    if step.property not in written:
        choice = f"choose one of {listed(written)}" if written else "remove the step"
        yield Problem(where, f"No rule writes the property “{step.property}”. Add a rule for it, or {choice}.")
    for name in step.also:
        if object_type.property(name) is None:
            yield Problem(where, f"“{object_type.key}” has no property “{name}”. Take it out of the step's further properties.")
    if step.normalise not in NORMALISERS:
        yield Problem(where, f"There is no normaliser “{step.normalise}”. Choose one of {listed(NORMALISERS)}.")


def _settings(content: MappingContent, dataset: DatasetInfo, object_type: ObjectType) -> Iterator[Problem]:
    filtered = dataset if content.pushes else as_dataset(object_type)
    if content.filter and (complaint := _expression(content.filter, filtered)):
        yield Problem("Filter", complaint)
    if content.segment and content.segment not in {segment.key for segment in dataset.segments}:
        known = listed(segment.key for segment in dataset.segments)
        choice = f"Choose one of {known}, or none" if known else "It has none; leave it empty"
        yield Problem("Segment", f"The dataset has no segment “{content.segment}”. {choice}.")
    if content.mode not in set(Mode):
        yield Problem("Mode", f"There is no mode “{content.mode}”. Choose one of {listed(Mode)}.")
    elif content.pushes and (missing := _operations(content.mode, object_type)):
        yield Problem(
            "Mode",
            f"The mode “{content.mode}” needs to {missing} records, which “{object_type.key}” does not offer. Choose another.",
        )


def _operations(mode: str, object_type: ObjectType) -> str:
    offered = set(object_type.batch_sizes)
    if object_type.log:
        return "" if Op.CREATE in offered else "create"
    needed = {
        Mode.UPSERT: {"create": Op.CREATE, "update": Op.UPDATE},
        Mode.CREATE: {"create": Op.CREATE},
        Mode.UPDATE: {"update": Op.UPDATE},
        Mode.MIRROR: {"create": Op.CREATE, "update": Op.UPDATE},
    }
    return " and ".join(name for name, op in needed[Mode(mode)].items() if not offered & {op, Op.UPSERT})
