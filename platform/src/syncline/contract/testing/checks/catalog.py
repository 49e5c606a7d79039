"""Discovery, creation of properties, default mappings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import jsonschema

from syncline.contract import Capability, DatasetInfo, Kind, ObjectType, Property, SuggestedMapping
from syncline.contract.normalise import NORMALISERS

from ..check import check, expect
from ..lab import Lab

UNKNOWN = DatasetInfo(key="conformance.unknown", label="A dataset that no connector knows", fields=())
OWNERS = frozenset({"here", "there", "newest", "review"})


@check("discovery", Capability.DISCOVER)
def discovery(lab: Lab) -> None:
    """Discovering twice gives the same, with unique keys and names, known kinds, valid schemas and sensible batch sizes."""
    first, second = (_stable(lab.call.discover(session=lab.session())) for _ in range(2))
    expect(first == second, "Two discoveries of an account that nobody changed differ.")
    expect(first, "`discover` found no object.")
    _unique([o.key for o in first], "keys of objects")
    for found in first:
        _sound(found)


def _stable(objects: Iterable[ObjectType]) -> list[ObjectType]:
    return [replace(found, count=None) for found in objects]  # other people may add records meanwhile


def _sound(found: ObjectType) -> None:
    _unique([p.name for p in found.properties], f"names of properties of `{found.key}`")
    bad = {op: size for op, size in found.batch_sizes.items() if size < 1}
    expect(not bad, f"Batch sizes of `{found.key}` below 1: {bad}.")
    if found.unique_key is not None:
        own = found.property(found.unique_key)
        expect(own and own.unique, f"The unique key `{found.unique_key}` of `{found.key}` is not one of its unique properties.")
    for definition in found.properties:
        _defined(definition, f"`{found.key}.{definition.name}`")


def _defined(definition: Property, what: str) -> None:
    expect(definition.kind in set(Kind) - {Kind.REFERENCE}, f"The kind {definition.kind!r} of {what} is not one of a property.")
    _unique([choice.value for choice in definition.choices], f"choices of {what}")
    try:
        jsonschema.Draft202012Validator.check_schema(dict(definition.schema))
    except jsonschema.SchemaError as error:
        expect(False, f"The schema of {what} is not a JSON Schema: {error.message}.")


def _unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    expect(not twice, f"Not unique among the {what}: {', '.join(twice)}.")


@check("create-properties", Capability.DISCOVER, Capability.CREATE_PROPERTIES)
def create_properties(lab: Lab) -> None:
    """Missing properties are created as asked, once: a second call creates nothing and says so."""
    wanted = lab.target.create
    expect(wanted, "The target has no `create`: give properties that can be created.")
    with lab.fresh() as clean:
        session, before = clean.session(), clean.discovered()
        new = sorted(p.name for p in wanted if before.property(p.name) is None)
        expect(new, "Every property of the target's `create` exists already.")
        first = clean.call.create_properties(session=session, object_type=before, properties=wanted)
        expect(sorted(first) == new, f"Asked to create {new}, the hook says it created {sorted(first)}.")
        after = clean.discovered()
        kinds = {p.name: (p.kind, after.property(p.name)) for p in wanted}
        wrong = sorted(name for name, (kind, made) in kinds.items() if made is None or made.kind != kind)
        expect(not wrong, f"Created, but not discovered with the kind asked for: {wrong}.")
        second = clean.call.create_properties(session=session, object_type=before, properties=wanted)
        expect(list(second) == [], f"Called again, the hook says it created {sorted(second)}, which were there.")


@check("suggested-mapping", Capability.DISCOVER, Capability.SUGGEST_MAPPING)
def suggested_mapping(lab: Lab) -> None:
    """Defaults name only fields of the dataset and properties that exist or are to be created; an unknown pair has none."""
    none = lab.call.suggest_mapping(dataset=UNKNOWN, object_type=lab.object_type)
    expect(none == SuggestedMapping(), f"For an unknown dataset the hook suggests {none}.")
    dataset = lab.target.dataset
    expect(dataset, "The target has no `dataset`: give one that `suggest_mapping` knows.")
    if dataset:
        _sensible(lab.call.suggest_mapping(dataset=dataset, object_type=lab.object_type), dataset, lab.object_type)


def _sensible(suggested: SuggestedMapping, dataset: DatasetInfo, found: ObjectType) -> None:
    expect(suggested.rules, f"For {dataset.key} and `{found.key}`, said to be a known pair, the hook suggests nothing.")
    properties = {p.name for p in (*found.properties, *suggested.create)}
    objects = {a.object_type for a in found.associations}
    for rule in suggested.rules:
        known = objects if rule.association else properties
        expect(rule.target in known, f"A rule writes to `{rule.target}`, which neither exists nor is to be created.")
        expect(not rule.source or dataset.field(rule.source), f"A rule reads `{rule.source}`, which {dataset.key} does not have.")
        expect(
            bool(rule.source) != bool(rule.expression), f"The rule for `{rule.target}` needs a source or an expression, not both."
        )
        expect(rule.owner in OWNERS, f"Nobody called `{rule.owner}` can decide about `{rule.target}`. Known: {sorted(OWNERS)}.")
    for step in suggested.match.steps:
        lacking = sorted({step.property, *step.also} - properties)
        expect(not lacking, f"The match rule names properties that do not exist: {lacking}.")
        expect(step.normalise in NORMALISERS, f"The normaliser `{step.normalise}` is unknown. Known: {sorted(NORMALISERS)}.")
