"""What is wrong with the rules that pull, beyond what any rule must keep to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import Kind, ObjectType, Op, Property

from .content import MappingContent, Mode, Owner, RuleContent, WriteMode
from .problems import Problem, listed
from .sides import as_object

_NEEDED: Final = {
    Mode.UPSERT: frozenset({Op.CREATE, Op.UPDATE}),
    Mode.MIRROR: frozenset({Op.CREATE, Op.UPDATE}),
    Mode.CREATE: frozenset({Op.CREATE}),
    Mode.UPDATE: frozenset({Op.UPDATE}),
}


def check_pull(content: MappingContent, dataset: DatasetInfo, *, log: bool = False) -> Iterator[Problem]:
    """Of the mapping as a whole. `log`: messages are pulled."""
    yield from _taker(dataset) if log else _writer(content, dataset)
    fields = Counter(rule.source for rule in content.rules if rule.pulls and rule.source)
    for name, count in fields.items():
        if count > 1:
            yield Problem(f"Field “{name}”", f"{count} rules pull into it. Keep one.")
    if content.mode in (Mode.UPSERT, Mode.MIRROR, Mode.CREATE):
        for field in dataset.fields:
            if field.required and field.name not in fields:
                yield Problem(
                    f"Field “{field.name}”",
                    "It is required in new records, but no rule pulls it. Add a rule, or choose the mode that only updates.",
                )


def _taker(dataset: DatasetInfo) -> Iterator[Problem]:
    if Op.UPSERT not in dataset.writes:
        yield Problem(
            "Direction", f"{dataset.label} takes no messages: its app offers no {Op.UPSERT} to pulls. Choose another dataset."
        )


def _writer(content: MappingContent, dataset: DatasetInfo) -> Iterator[Problem]:
    if not dataset.writes:
        yield Problem("Direction", f"Nothing can be pulled into {dataset.label}: its app offers no writer. Choose to push.")
    elif content.mode in set(Mode) and (missing := _NEEDED[Mode(content.mode)] - dataset.writes):
        yield Problem("Mode", f"{dataset.label} offers no {listed(sorted(missing))} to pulls. Choose another mode.")


def inbound_complaints(rule: RuleContent, dataset: DatasetInfo, object_type: ObjectType) -> Iterator[str]:
    """Of one rule that pulls."""
    field = dataset.field(rule.source)
    if rule.expression:
        yield "An expression only works on the way there. Choose a field, or let the value be decided here."
    if field is not None and not field.writable:
        yield f"The field “{field.name}” cannot be written. Choose another, or let the value be decided here."
    if rule.transforms and rule.owner != Owner.THERE:
        yield "Both sides may change it, so it can take no transforms. Remove them, or let one side decide."
    if rule.write_mode == WriteMode.APPEND:
        yield "Nothing can be added to a set here. Choose another write mode."
    prop = object_type.property(rule.target)
    if field is None or prop is None or rule.association or rule.transforms:
        return
    yield from _kinds(prop, as_object(dataset).property(field.name))


_NO_DATES: Final = frozenset({Kind.NUMBER, Kind.BOOLEAN, Kind.EMAIL})
#: Kinds of property whose values a field of this kind can never hold without a transform.
_NEVER: Final = {
    Kind.DATE: _NO_DATES,
    Kind.DATETIME: _NO_DATES,
    Kind.NUMBER: frozenset({Kind.DATE, Kind.DATETIME, Kind.EMAIL}),
}


def _kinds(prop: Property, field: Property | None) -> Iterator[str]:
    if field is None:
        return
    if prop.kind is Kind.SET and field.kind is not Kind.SET:
        yield f"“{prop.name}” is a set, and the field “{field.name}” holds one value. Add the transform “join”."
    elif prop.kind in _NEVER.get(field.kind, ()):
        yield f"“{prop.name}” is a {prop.kind}, which the field “{field.name}” ({field.kind}) does not take. Choose another."
