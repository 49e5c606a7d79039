"""Each end of a mapping in the shape of the other, so that a rule can be read from both sides."""

from __future__ import annotations

from dataclasses import replace

from syncline.contract.dataset import DatasetInfo, Field
from syncline.contract.values import Kind, ObjectType, Property

from .content import RuleContent


def turned(rule: RuleContent) -> RuleContent:
    """The rule seen from the other side: the property is its source, the field its target."""
    return replace(rule, source=rule.target, target=rule.source, expression="")


def as_dataset(object_type: ObjectType) -> DatasetInfo:
    """A remote object as what rules read from."""
    fields = tuple(
        Field(prop.name, prop.label, prop.kind, many=prop.kind is Kind.SET, choices=prop.choices)
        for prop in object_type.properties
    )
    return DatasetInfo(object_type.key, object_type.title, fields)


def as_object(dataset: DatasetInfo) -> ObjectType:
    """A dataset as what rules write to; references are no properties."""
    return ObjectType(
        dataset.key, dataset.label, tuple(_as_property(f) for f in dataset.fields if f.kind is not Kind.REFERENCE), {}
    )


def _as_property(field: Field) -> Property:
    kind = Kind.SET if field.many else field.kind
    return Property(
        field.name,
        field.label,
        kind,
        schema=field.schema,
        choices=field.choices,
        read_only=not field.writable,
        required=field.required,
    )
