"""Suggested rules: the whole message to where JSON fits, and the rest by name."""

from __future__ import annotations

from syncline.contract import DatasetInfo, Kind, ObjectType, Op, SuggestedMapping, SuggestedRule

from .values import WHOLE


def suggest(dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
    if not dataset.log and Op.UPSERT not in dataset.writes:
        return SuggestedMapping()
    usable = [field for field in dataset.fields if dataset.log or field.writable]
    whole = next((field.name for field in usable if field.kind is Kind.JSON and field.name == "data"), "") or next(
        (field.name for field in usable if field.kind is Kind.JSON), ""
    )
    rules = [SuggestedRule(WHOLE, source=whole)] if whole else []
    if not dataset.log:  # what is passed on goes as it came
        named = {_plain(one.name): one.name for one in object_type.properties if one.name != WHOLE}
        rules += [
            SuggestedRule(named[_plain(f.name)], source=f.name) for f in usable if _plain(f.name) in named and f.name != whole
        ]
    return SuggestedMapping(tuple(rules))


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
