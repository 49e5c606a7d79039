"""Associations of remote records as references of ours: which records here are meant, and what a pull changes about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from syncline.contract import RemoteRecord, Value
from syncline.ledger.records import Problem, Scope
from syncline.syncs.engine.inbound import InboundReference

from .work import Known

_LINKED = """
SELECT object_type, dataset, local_key, remote_id FROM syncline_link
WHERE connection_id = %s AND object_type = ANY(%s) AND (remote_id = ANY(%s) OR local_key = ANY(%s)) AND remote_id IS NOT NULL
  AND state NOT IN ('gone', 'merged')
"""


@dataclass(frozen=True)
class Linked:
    """Both ways, by (object type, dataset)."""

    keys: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    ids: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Referred:
    """`values`: reference fields to be written; `associations`: what is agreed on afterwards; `missing`: why something waits.

    `lacking`: without it the record cannot be created. `agreed`: object types for which both sides refer to the same then.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    missing: Problem | None = None
    lacking: bool = False
    agreed: frozenset[str] = frozenset()


def linked(
    scope: Scope, rules: Sequence[InboundReference], records: Sequence[RemoteRecord], rows: Mapping[str, Mapping[str, Any]]
) -> Linked:
    """Who is linked to what, for the records associated and for those that our rows refer to."""
    if not rules:
        return Linked()
    ids = {id_ for record in records for rule in rules for id_ in record.associations.get(rule.object_type, ())}
    keys = {key for row in rows.values() for rule in rules for key in held(row, rule)}
    by_id: dict[tuple[str, str], dict[str, str]] = {}
    by_key: dict[tuple[str, str], dict[str, str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LINKED, [scope.connection_id, sorted({r.object_type for r in rules}), sorted(ids), sorted(keys)])
        for object_type, dataset, local_key, remote_id in cursor.fetchall():
            by_id.setdefault((object_type, dataset), {})[remote_id] = local_key
            by_key.setdefault((object_type, dataset), {})[local_key] = remote_id
    return Linked(by_id, by_key)


def held(row: Mapping[str, Any] | None, rule: InboundReference) -> tuple[str, ...]:
    """Local keys that our record refers to."""
    value = (row or {}).get(rule.field)
    if value in (None, ""):
        return ()
    return tuple(str(one) for one in value) if isinstance(value, list | tuple | set) else (str(value),)


def referred(
    rules: Sequence[InboundReference], record: RemoteRecord, known: Known | None, row: Mapping[str, Any] | None, found: Linked
) -> Referred:
    """What was associated there is added here, and what both sides had and they gave up is taken away; all else stays.

    Where we push as well, what both sides had and we gave up is not added again.
    """
    values: dict[str, Value] = {}
    same: set[str] = set()
    agreed: dict[str, list[str]] = {}
    missing: list[tuple[InboundReference, list[str]]] = []
    lacking = False
    for rule in rules:
        there = record.associations.get(rule.object_type, ())
        keys = found.keys.get((rule.object_type, rule.dataset), {})
        resolved = [keys[id_] for id_ in there if id_ in keys]
        if unresolved := [id_ for id_ in there if id_ not in keys]:
            missing.append((rule, unresolved))
        before = held(row, rule)
        base = set(known.associations.get(rule.object_type, ())) & set(there) if known else set()
        left = {keys[id_] for id_ in base if id_ in keys} - set(before) if rule.pushed else set()
        after = _after(rule, before, [key for key in resolved if key not in left], _given_up(rule, known, there, found), left)
        if after != before:
            values[rule.field] = after if rule.many else (after[0] if after else None)
        meant = {found.ids.get((rule.object_type, rule.dataset), {}).get(key, "") for key in after}
        agreed[rule.object_type] = sorted(base | meant & set(there))
        if meant == set(there):
            same.add(rule.object_type)
        lacking = lacking or (rule.required and not after)
    return Referred(values, agreed, _waiting(missing, rules, lacking), lacking, frozenset(same))


def _given_up(rule: InboundReference, known: Known | None, there: Sequence[str], found: Linked) -> set[str]:
    """Local keys of what was associated when both sides last agreed and is not any more."""
    before = set(known.associations.get(rule.object_type, ())) if known else set()
    ids = found.ids.get((rule.object_type, rule.dataset), {})
    return {key for key, id_ in ids.items() if id_ in before and id_ not in there}


def _after(
    rule: InboundReference, before: tuple[str, ...], resolved: Sequence[str], given_up: set[str], left: set[str]
) -> tuple[str, ...]:
    """`left`: what we gave up. A single reference that both sides changed stays ours where we push, else theirs holds."""
    kept = tuple(key for key in before if key not in given_up)
    if rule.many:
        return (*kept, *(key for key in dict.fromkeys(resolved) if key not in kept))
    if rule.pushed and (kept or left):
        return kept
    if resolved and not set(kept) & set(resolved):
        return (resolved[0],)
    return kept


def _waiting(
    missing: Sequence[tuple[InboundReference, list[str]]], rules: Sequence[InboundReference], lacking: bool
) -> Problem | None:
    if missing:
        rule, ids = missing[0]
        verb = "is" if len(ids) == 1 else "are"
        said = f"It belongs to {len(ids)} of {rule.object_type} ({', '.join(ids[:3])}), which {verb} not here yet."
        again = f"{said} It is taken up as soon as they are."
        return Problem("waiting", again, property=rule.object_type, group=rule.object_type)
    if lacking:
        rule = next(r for r in rules if r.required)
        said = f"It is associated with none of {rule.object_type}, and {rule.field} needs one. Associate it there."
        return Problem("required", said, property=rule.object_type, group=rule.object_type)
    return None
