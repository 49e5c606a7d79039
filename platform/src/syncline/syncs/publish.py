"""From a sync's draft to a numbered version, and what helps on the way: problems, suggestion, preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from syncline import registry
from syncline.catalog import service as catalog
from syncline.connections.access import may_run
from syncline.contract import (
    ConfigError,
    Dataset,
    Kind,
    MatchRule,
    MatchStep,
    ObjectType,
    Property,
    SuggestedMapping,
    SynclineError,
)

from .engine import CompiledMapping, MappingContent, MappingInvalid, Problem, RuleContent, check_mapping
from .engine.content import Direction, Owner
from .engine.drift import Definitions, Drifted, accepted, compile_published, definitions, drifted
from .engine.preview import Preview, PreviewPlan
from .engine.suggest import suited
from .models import FieldRule, MappingVersion, MatchStepRow, Sync
from .promises import broken_promises


def draft_content(sync: Sync) -> MappingContent:
    """What the sync's rows say now; disabled rules are left out."""
    return MappingContent(
        rules=tuple(_rule_content(row, sync.direction) for row in sync.rules.all() if row.enabled),
        match=MatchRule(tuple(_step_content(row) for row in sync.match_steps.all())),
        filter=sync.filter.strip(),
        segment=sync.segment,
        mode=sync.mode,
        direction=sync.direction,
    )


#: Who decides about every field, where that is no question.
_ONE_WAY = {Direction.PUSH: Owner.HERE, Direction.PULL: Owner.THERE}


def _rule_content(row: FieldRule, direction: str) -> RuleContent:
    # What is not a list becomes a step that the check refuses, in words.
    steps = row.transforms if isinstance(row.transforms, list) else [row.transforms]
    return RuleContent(
        row.target.strip(),
        row.source.strip(),
        row.expression.strip(),
        row.association,
        tuple(steps),
        row.write_mode,
        row.null_policy,
        _ONE_WAY.get(Direction(direction), row.owner),
    )


def _step_content(row: MatchStepRow) -> MatchStep:
    also = row.also if isinstance(row.also, list) else [row.also]
    return MatchStep(row.property.strip(), tuple(str(name) for name in also), row.normalise, row.only_if_unique)


def problems(sync: Sync) -> list[Problem]:
    """Why the draft cannot be published; none when it can."""
    try:
        dataset, object_type = _ends(sync)
    except SynclineError as error:
        return [Problem("Sync", str(error))]
    return [*check_mapping(draft_content(sync), dataset.info, object_type), *broken_promises(sync, dataset, object_type)]


def publish(sync: Sync, user: User) -> MappingVersion:
    """Makes the draft the current version; the current one itself when nothing changed, here or in the account.

    The version keeps how the properties it writes are defined now, so that later changes of them are noticed: publishing
    again accepts them.

    Raises PermissionDenied, and MappingInvalid with every problem.
    """
    check_permission(sync, user)
    with transaction.atomic():
        # No join: after waiting for the lock, joined rows would still be those of the statement's start.
        locked = Sync.objects.select_for_update().get(pk=sync.pk)
        if found := problems(locked):
            raise MappingInvalid(found)
        content = draft_content(locked)
        version = _next_version(locked, content, definitions(content, _ends(locked)[1]), user)
        Sync.objects.filter(pk=sync.pk, blocked_reason__isnull=False).update(blocked_reason=None)
    sync.current, sync.blocked_reason = version, None
    return version


def _next_version(sync: Sync, content: MappingContent, defined: Definitions, user: User) -> MappingVersion:
    if sync.current is not None and sync.current.digest == content.digest and accepted(definitions_of(sync.current), defined):
        return sync.current
    newest = sync.versions.order_by("-number").first()
    version = MappingVersion.objects.create(
        sync=sync,
        number=newest.number + 1 if newest else 1,
        content={**content.to_json(), "definitions": defined},
        digest=content.digest,
        published_by=user,
    )
    Sync.objects.filter(pk=sync.pk).update(current=version)
    return version


def check_permission(sync: Sync, user: User) -> None:
    """PermissionDenied unless this person may use the connection and see the dataset."""
    if not may_run(user, sync.connection):
        raise PermissionDenied(f"{user} may not use {sync.connection}. Ask its owner {sync.connection.owner} for a grant.")
    permission = registry.dataset(sync.dataset).info.permission
    if permission and not (user.is_active and user.has_perm(permission)):
        raise PermissionDenied(f"{user} may not sync {sync.dataset}. An administrator can give the permission {permission}.")


def compiled(version: MappingVersion) -> CompiledMapping:
    """The version against the catalog as it is now; `suspended` names rules whose property changed in the account.

    Raises MappingInvalid when the version cannot be used, or when its sync is to stop at such changes; ConfigError when its
    dataset or object is gone.
    """
    dataset, object_type = _ends(version.sync)
    content, published = MappingContent.from_json(version.content), definitions_of(version)
    if version.sync.drift_policy == Sync.DriftPolicy.STOP:
        _stop_at(drifted(content, dataset.info, object_type, published))
    return compile_published(content, dataset.info, object_type, published)


def refuse_drift(sync: Sync) -> None:
    """MappingInvalid while a sync that is to stop at changes of its properties has met one; ConfigError as `drift`."""
    if sync.current is not None and sync.drift_policy == Sync.DriftPolicy.STOP:
        _stop_at(drift(sync.current))


def _stop_at(changes: Sequence[Drifted]) -> None:
    if changes:
        raise MappingInvalid(
            Problem(one.problem.where, f"{one.sentence} This sync stops when a mapped property changes. {_REMEDY}")
            for one in changes
        )


_REMEDY = (
    "Restore it in the account and refresh the catalog, or correct the mapping and publish it again; "
    "or let the sync suspend such fields and deliver the others."
)


def drift(version: MappingVersion) -> tuple[Drifted, ...]:
    """What changed in the account about the properties this version writes, since it was published.

    ConfigError when its dataset or object is gone.
    """
    dataset, object_type = _ends(version.sync)
    return drifted(MappingContent.from_json(version.content), dataset.info, object_type, definitions_of(version))


def definitions_of(version: MappingVersion) -> Definitions:
    """How the properties were defined then; versions from before this was kept have nothing to compare with."""
    kept: Definitions = version.content.get("definitions", {})
    return kept


def apply_suggestion(sync: Sync) -> SuggestedMapping:
    """Replaces the draft by the connector's defaults for this pair; ConfigError when it has none."""
    dataset, object_type = _ends(sync)
    suggested = suited(_suggestion(sync, dataset, object_type), dataset.info, object_type, sync.direction)
    if not suggested.rules:
        raise ConfigError(
            f"The connector {sync.connection.connector} suggests nothing for {sync.dataset} and {sync.object_type}. "
            "Add the rules by hand."
        )
    with transaction.atomic():
        sync.rules.all().delete()
        sync.match_steps.all().delete()
        FieldRule.objects.bulk_create(_suggested_rules(sync, suggested))
        MatchStepRow.objects.bulk_create(_suggested_steps(sync, suggested.match, object_type))
    return suggested


def _suggestion(sync: Sync, dataset: Dataset, object_type: ObjectType) -> SuggestedMapping:
    connector = registry.connector(sync.connection.connector)
    if "suggest_mapping" not in connector.implements:
        return SuggestedMapping()
    return connector.call.suggest_mapping(dataset=dataset.info, object_type=object_type)


def _suggested_rules(sync: Sync, suggested: SuggestedMapping) -> list[FieldRule]:
    return [
        FieldRule(
            sync=sync,
            position=position,
            source=rule.source,
            expression=rule.expression,
            target=rule.target,
            association=rule.association,
            transforms=[dict(step) for step in rule.transforms],
            write_mode=rule.write_mode,
            null_policy=rule.null_policy,
            owner=rule.owner,
        )
        for position, rule in enumerate(suggested.rules, 1)
    ]


def _suggested_steps(sync: Sync, match: MatchRule, object_type: ObjectType) -> list[MatchStepRow]:
    """Further properties that this account does not have are left out: they can identify nothing there."""
    return [
        MatchStepRow(
            sync=sync,
            position=position,
            property=step.property,
            also=[name for name in step.also if object_type.property(name) is not None],
            normalise=step.normalise,
            only_if_unique=step.only_if_unique,
        )
        for position, step in enumerate(match.steps, 1)
    ]


def missing_properties(sync: Sync) -> tuple[Property, ...]:
    """Properties to create: those the draft writes but the account lacks, and the connector's own key property.

    Defined as the connector suggests, else after the dataset's field. With an empty draft: all the suggestion needs.
    A pull needs none.
    """
    if sync.direction == Direction.PULL:
        return ()
    dataset, object_type = _ends(sync)
    suggested = {prop.name: prop for prop in _suggestion(sync, dataset, object_type).create}
    rules = [rule for rule in draft_content(sync).rules if not rule.association and rule.target]
    wanted = {rule.target: suggested.get(rule.target) or _after_field(rule, dataset) for rule in rules} or dict(suggested)
    if object_type.key_property is not None:
        wanted[object_type.key_property.name] = object_type.key_property
    return tuple(prop for name, prop in wanted.items() if object_type.property(name) is None)


def _after_field(rule: RuleContent, dataset: Dataset) -> Property:
    field = dataset.info.field(rule.source)
    if field is None or rule.transforms or field.kind is Kind.REFERENCE:
        return Property(rule.target, rule.target.replace("_", " ").capitalize())
    kind = Kind.SET if field.many else field.kind
    return Property(rule.target, field.label, kind, choices=field.choices)


def preview(sync: Sync, local_key: str) -> Preview:
    """What the draft makes of one real record; asks the vendor nothing. ConfigError when there is no such record."""
    dataset, object_type = _ends(sync)
    plan = PreviewPlan(draft_content(sync), dataset.info, object_type)
    row = _row(dataset, plan.fields, "", sync, local_key)
    if row is None:
        raise ConfigError(f"{dataset.info.label} has no record {local_key!r}. Choose another record.")
    shown = plan.show(local_key, row)
    return replace(shown, included=shown.included and _in_segment(dataset, sync, local_key))


def _in_segment(dataset: Dataset, sync: Sync, local_key: str) -> bool:
    known = {segment.key for segment in dataset.info.segments}
    return not sync.segment or (sync.segment in known and _row(dataset, (), sync.segment, sync, local_key) is not None)


def _row(dataset: Dataset, fields: tuple[str, ...], segment: str, sync: Sync, local_key: str) -> Mapping[str, Any] | None:
    rows = dataset.rows(fields, segment, sync.connection.owner)
    try:
        found: Mapping[str, Any] | None = rows.filter(**{dataset.key_field: local_key}).values(dataset.key_field, *fields).first()
    except (ValueError, ValidationError):  # not of the key's type
        return None
    return found


def _ends(sync: Sync) -> tuple[Dataset, ObjectType]:
    return registry.dataset(sync.dataset), catalog.object_type(sync.connection, sync.object_type)
