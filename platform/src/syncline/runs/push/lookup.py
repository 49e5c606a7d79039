"""Asks candidates, index and links what `matching` decides on: a few queries a chunk, whatever its size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import connection

from syncline.contract import MatchRule
from syncline.ledger.records import Scope

from .identities import OWN_KEY, index_name
from .matching import Hit, Match, StepFinding, decide

# LIMIT in the sub-select: a value shared by thousands needs no complete list
_FINDINGS = """
SELECT c.local_key, c.step, c.value,
       ARRAY(SELECT d.local_key FROM syncline_candidate d
             WHERE d.run_id = c.run_id AND d.step = c.step AND d.value = c.value ORDER BY d.id LIMIT 20),
       ARRAY(SELECT DISTINCT i.remote_id FROM syncline_identityindex i
             WHERE i.connection_id = %s AND i.object_type = %s AND i.property = p.name AND i.value = c.value
             ORDER BY i.remote_id LIMIT 20)
FROM syncline_candidate c JOIN unnest(%s::smallint[], %s::text[]) AS p (step, name) ON p.step = c.step
WHERE c.run_id = %s AND c.local_key = ANY(%s)
"""

_OWN = """
SELECT value, remote_id FROM syncline_identityindex
WHERE connection_id = %s AND object_type = %s AND property = %s AND value = ANY(%s)
"""

_HITS = """
SELECT i.remote_id, i.property, i.value, coalesce(l.local_key, ''), coalesce(l.dataset, '')
FROM syncline_identityindex i
LEFT JOIN LATERAL (
    SELECT k.local_key, k.dataset FROM syncline_link k
    WHERE k.connection_id = i.connection_id AND k.object_type = i.object_type AND k.remote_id = i.remote_id OFFSET 0
) l ON true
WHERE i.connection_id = %s AND i.object_type = %s AND i.remote_id = ANY(%s)
"""

_TARGETS = """
SELECT local_key, remote_id FROM syncline_link
WHERE connection_id = %s AND object_type = %s AND dataset = %s AND local_key = ANY(%s) AND remote_id IS NOT NULL
  AND state NOT IN ('gone', 'merged')
"""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A record to be matched: the value of our own unique property, and its values by step as they are now."""

    unique_value: str
    values: frozenset[tuple[int, str]]


def matches(
    scope: Scope,
    run_id: int,
    rule: MatchRule,
    records: Mapping[str, Unlinked],
    existing: Callable[[Sequence[str]], set[str]],
) -> dict[str, Match]:
    """What to do with each unlinked record, by local key. `existing`: which of these records of ours are still there.

    One is left out when its values are not those that were looked up: it is new, or was changed, since then.
    """
    if not records:
        return {}
    unique_values = {key: record.unique_value for key, record in records.items()}
    own = _own(scope, unique_values)
    found = _findings(scope, run_id, rule, list(unique_values))
    ids = {r for ids in own.values() for r in ids} | {r for rows in found.values() for row in rows for r in row[3]}
    hits = _orphaned(_hits(scope, sorted(ids)), existing)
    return {
        key: decide(
            rule,
            key,
            [hits[r] for r in own.get(key, ())],
            [
                StepFinding(step, value, tuple(here), tuple(hits[r] for r in there))
                for step, value, here, there in found.get(key, ())
            ],
            unique,
        )
        for key, unique in unique_values.items()
        if records[key].values == {(step, value) for step, value, _, _ in found.get(key, ())}
    }


def targets(scope: Scope, dataset: str, object_type: str, keys: Sequence[str]) -> dict[str, str]:
    """Remote ids of linked records of another dataset, by local key."""
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_TARGETS, [scope.connection_id, object_type, dataset, list(keys)])
        return dict(cursor.fetchall())


def owners(scope: Scope, remote_ids: Sequence[str]) -> dict[str, str]:
    """Which local record each of these remote records is linked to, where it is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT remote_id, dataset || ' ' || local_key FROM syncline_link"
            " WHERE connection_id = %s AND object_type = %s AND remote_id = ANY(%s)",
            [scope.connection_id, scope.object_type, list(remote_ids)],
        )
        return dict(cursor.fetchall())


def _own(scope: Scope, unique_values: Mapping[str, str]) -> dict[str, list[str]]:
    by_value = {value: key for key, value in unique_values.items()}
    found: dict[str, list[str]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_OWN, [scope.connection_id, scope.object_type, OWN_KEY, list(by_value)])
        for value, remote_id in cursor.fetchall():
            found[by_value[value]].append(remote_id)
    return found


_Finding = tuple[int, str, list[str], list[str]]


def _findings(scope: Scope, run_id: int, rule: MatchRule, keys: list[str]) -> dict[str, list[_Finding]]:
    found: dict[str, list[_Finding]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            _FINDINGS,
            [
                scope.connection_id,
                scope.object_type,
                list(range(len(rule.steps))),
                [index_name(s) for s in rule.steps],
                run_id,
                keys,
            ],
        )
        for key, step, value, here, there in cursor.fetchall():
            found[key].append((step, value, here, there))
    return found


def _orphaned(hits: dict[str, Hit], existing: Callable[[Sequence[str]], set[str]]) -> dict[str, Hit]:
    """A link whose record has gone from here holds its remote record back from nobody."""
    holders = {hit.owner for hit in hits.values() if hit.owner and " " not in hit.owner}
    gone = holders - existing(sorted(holders)) if holders else set()
    return {r: replace(h, owner="", orphan=h.owner) if h.owner in gone else h for r, h in hits.items()}


def _hits(scope: Scope, remote_ids: list[str]) -> dict[str, Hit]:
    if not remote_ids:
        return {}
    values: dict[str, dict[str, set[str]]] = {r: defaultdict(set) for r in remote_ids}
    owner: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_HITS, [scope.connection_id, scope.object_type, remote_ids])
        for remote_id, name, value, key, dataset in cursor.fetchall():
            values[remote_id][name].add(value)
            owner[remote_id] = "" if not key else key if dataset == scope.dataset else f"{dataset} {key}"
    return {
        r: Hit(
            r,
            owner.get(r, ""),
            next(iter(values[r].pop(OWN_KEY, ())), ""),
            {name: frozenset(some) for name, some in values[r].items()},
        )
        for r in remote_ids
    }
