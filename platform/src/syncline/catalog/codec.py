"""Object types as JSON and back, without loss. What the host stores of a discovery is this form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from syncline.contract import AssociationType, Choice, Kind, ObjectType, Op, Property

Plain = dict[str, Any]


def to_json(one: ObjectType) -> Plain:
    """Properties keep their order; everything is there, also what has its default."""
    return {
        "key": one.key,
        "title": one.title,
        "properties": [property_to_json(each) for each in one.properties],
        "batch_sizes": {str(op): size for op, size in one.batch_sizes.items()},
        "visibility_lag": one.visibility_lag,
        "unique_key": one.unique_key,
        "key_property": property_to_json(one.key_property) if one.key_property else None,
        "associations": [{"object_type": each.object_type, "label": each.label} for each in one.associations],
        "page_size": one.page_size,
        "count": one.count,
        "bulk_rows": one.bulk_rows,
        "bulk_match": list(one.bulk_match),
        "pull_since": one.pull_since,
        "pull_archived": one.pull_archived,
        "pull_history": one.pull_history,
        "follow": one.follow,
        "log": one.log,
        "dead_letters": one.dead_letters,
    }


def from_json(plain: Mapping[str, Any]) -> ObjectType:
    key_property = plain["key_property"]
    return ObjectType(
        key=plain["key"],
        title=plain["title"],
        properties=tuple(property_from_json(each) for each in plain["properties"]),
        batch_sizes={Op(op): size for op, size in plain["batch_sizes"].items()},
        visibility_lag=plain["visibility_lag"],
        unique_key=plain["unique_key"],
        key_property=property_from_json(key_property) if key_property else None,
        associations=tuple(AssociationType(each["object_type"], each["label"]) for each in plain["associations"]),
        page_size=plain["page_size"],
        count=plain["count"],
        bulk_rows=plain.get("bulk_rows", 0),
        bulk_match=tuple(plain.get("bulk_match", ())),
        pull_since=plain.get("pull_since", False),
        pull_archived=plain.get("pull_archived", False),
        pull_history=plain.get("pull_history", False),
        follow=plain.get("follow", False),
        log=plain.get("log", False),
        dead_letters=plain.get("dead_letters", ""),
    )


def property_to_json(one: Property) -> Plain:
    return {
        "name": one.name,
        "label": one.label,
        "kind": str(one.kind),
        "schema": dict(one.schema),
        "choices": [{"value": each.value, "label": each.label} for each in one.choices],
        "read_only": one.read_only,
        "required": one.required,
        "unique": one.unique,
        "group": one.group,
        "description": one.description,
    }


def property_from_json(plain: Mapping[str, Any]) -> Property:
    choices = tuple(Choice(each["value"], each["label"]) for each in plain["choices"])
    return Property(**{**plain, "kind": Kind(plain["kind"]), "choices": choices})


def digest(plain: Mapping[str, Any]) -> str:
    """The same for the same definition, whatever the order of keys; the count of records is not part of a definition."""
    definition = {name: value for name, value in plain.items() if name != "count"}
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
