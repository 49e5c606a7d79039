"""Which record of ours is it? Looks up our own key, then the match rule's steps: among our unlinked records, and among the
remote records that bear the same value. Whatever could be two things is for a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection

from syncline.contract import Dataset, MatchStep, RemoteRecord
from syncline.ledger.models import Link
from syncline.ledger.records import Problem, Scope
from syncline.ledger.storable import dumps, storable
from syncline.runs.push.identities import WIDEST, index_name
from syncline.syncs.engine import CompiledMapping, Mode

from .glance import Glances
from .staging import Staging
from .work import Place

NEW = Place()
Value = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Ours:
    """A record of ours with a match value. `remote_id`: what it is linked to, "" for nothing (any more)."""

    key: str
    values: frozenset[Value]
    remote_id: str = ""


@dataclass
class Findings:
    """By step and value: records of ours, and (remote id, local key it is linked to or "") there."""

    here: Mapping[Value, Sequence[Ours]] = field(default_factory=dict)
    there: Mapping[Value, Sequence[tuple[str, str]]] = field(default_factory=dict)
    keyed: Mapping[str, Ours] = field(default_factory=dict)


@dataclass(frozen=True)
class Finder:
    """`staging`: where the match values of our unlinked records are when the dataset cannot be asked for them."""

    scope: Scope
    dataset: Dataset
    mapping: CompiledMapping
    glances: Glances
    unique_key: str
    key_prefix: str
    staging: Staging | None
    complete: bool

    @property
    def steps(self) -> Sequence[MatchStep]:
        return self.mapping.content.match.steps

    @property
    def strong(self) -> frozenset[int]:
        """Numbers of the steps whose values belong to one record only."""
        return frozenset(number for number, step in enumerate(self.steps) if not step.only_if_unique)

    @property
    def identifying(self) -> frozenset[str]:
        """The properties that these steps read first."""
        return frozenset(self.steps[number].property for number in self.strong)

    def places(self, records: Sequence[RemoteRecord]) -> dict[str, Place]:
        """By remote id. Records of one call that share a value are told apart as if they had come one after the other."""
        values = {record.id: self.glances.of(record).values for record in records}
        found = Findings(self._here({v for mine in values.values() for v in mine}), self._there(values), self._keyed(records))
        places: dict[str, Place] = {}
        fresh: dict[Value, str] = {}
        for record in records:
            place = self._place(record, values[record.id], found)
            if place == NEW and self.mapping.content.mode != Mode.UPDATE:
                place = self._as_new(record, values[record.id], fresh)
            places[record.id] = place
        return places

    def _as_new(self, record: RemoteRecord, values: frozenset[Value], fresh: dict[Value, str]) -> Place:
        """Not like one that is taken in just before it; `fresh`: what those bear."""
        strong = sorted(v for v in values if v[0] in self.strong)
        if twin := next((value for value in strong if value in fresh), None):
            by = f"{self.steps[twin[0]].property} “{twin[1]}”"
            said = f"It shares {by} with remote record {fresh[twin]}, which was taken in. {_MERGE}"
            return Place(problem=Problem("several_remote", said, group="several"))
        fresh.update(dict.fromkeys(strong, record.id))
        return NEW

    def _place(self, record: RemoteRecord, values: frozenset[Value], found: Findings) -> Place:
        if own := found.keyed.get(self._own_key(record)):
            if not own.remote_id or own.remote_id == record.id:
                return Place(own.key)
            return Place(problem=_linked(own.key, own.remote_id, "our own key"))
        for number, step in enumerate(self.steps):
            for value in sorted(v for v in values if v[0] == number):
                place = self._by(record, step, value, values, found)
                if place is not None:
                    return place
        return NEW

    def _by(self, record: RemoteRecord, step: MatchStep, value: Value, values: frozenset[Value], found: Findings) -> Place | None:
        by = f"{step.property} “{value[1]}”"
        others = [(id_, key) for id_, key in found.there.get(value, ()) if id_ != record.id]
        taken = [(id_, key) for id_, key in others if key]
        here = found.here.get(value, ())
        if step.only_if_unique:
            here = [one for one in here if not one.remote_id]
        elif taken:
            return Place(problem=_linked(taken[0][1], taken[0][0], by))
        if not here:
            return None
        if len(here) > 1:
            keys = ", ".join(one.key for one in here[:5])
            return Place(
                problem=Problem("shared_here", f"Several of our records match by {by}: {keys}. {_MERGE}", group="shared")
            )
        return self._only(record, here[0], others, by, values)

    def _only(
        self, record: RemoteRecord, ours: Ours, others: Sequence[tuple[str, str]], by: str, values: frozenset[Value]
    ) -> Place:
        if ours.remote_id and ours.remote_id != record.id:
            return Place(problem=_linked(ours.key, ours.remote_id, by))
        if differing := _contradiction(self.steps, ours, values):
            said = f"Our record {ours.key} matches by {by}, but has another {differing}. Decide whether they are the same."
            return Place(problem=Problem("contradiction", said, group="contradiction"))
        if others:
            ids = ", ".join([record.id, *(id_ for id_, _ in others)][:5])
            said = f"Several records there match our record {ours.key} by {by}: {ids}. {_MERGE}"
            return Place(problem=Problem("several_remote", said, group="several"))
        return Place(ours.key, later=not self.complete)

    # what is asked

    def _own_key(self, record: RemoteRecord) -> str:
        value = record.properties.get(self.unique_key) if self.unique_key else None
        text = storable(str(value or ""))
        return text.removeprefix(self.key_prefix) if text.startswith(self.key_prefix) else ""

    def key_of_another(self, record: RemoteRecord) -> tuple[str, str] | None:
        """Dataset and local key of the record of ours whose key it bears, where that is of another dataset."""
        text = storable(str(record.properties.get(self.unique_key) or "")) if self.unique_key else ""
        installation, _, rest = text.partition(":")
        dataset, _, key = rest.partition(":")
        ours = bool(key) and self.key_prefix.startswith(f"{installation}:")
        return (dataset, key) if ours and dataset != self.scope.dataset else None

    def _keyed(self, records: Sequence[RemoteRecord]) -> dict[str, Ours]:
        keys = [key for record in records if (key := self._own_key(record))]
        there = _existing(self.dataset, keys)
        links = _links(self.scope, there)
        return {key: Ours(key, frozenset(), links.get(key, "")) for key in there}

    def _here(self, values: set[Value]) -> dict[Value, list[Ours]]:
        if not values:
            return {}
        rows = self._staged(values, self.staging) if self.staging else self._asked(values)
        links = _links(self.scope, list(rows))
        found: dict[Value, list[Ours]] = defaultdict(list)
        for key, mine in sorted(rows.items()):
            for value in mine & values:
                found[value].append(Ours(key, frozenset(mine), links.get(key, "")))
        return found

    def _staged(self, values: set[Value], staging: Staging) -> dict[str, frozenset[Value]]:
        staging.catch_up()
        found: dict[str, set[Value]] = defaultdict(set)
        with connection.cursor() as cursor:
            steps, wanted = zip(*values, strict=True)
            run_id = staging.work.source.run_id
            cursor.execute(_CANDIDATES, [dumps(steps), dumps([v[:WIDEST] for v in wanted]), run_id, run_id])
            for key, step, value in cursor.fetchall():
                found[key].add((step, value))
        return {key: frozenset(some) for key, some in found.items()}

    def _asked(self, values: set[Value]) -> dict[str, frozenset[Value]]:
        """Of the dataset, by what it finds quickly; `staging` is for where it cannot."""
        keys: set[object] = set()
        for number, step in enumerate(self.steps):
            mine = [v for n, v in values if n == number]
            rows = self.dataset.find(source_of(self.mapping, step), mine) if mine else None
            if rows is not None:
                keys |= set(rows.values_list(self.dataset.key_field, flat=True))
        return dict(self._match_values(sorted(keys, key=str)))

    def _match_values(self, keys: Sequence[object]) -> Iterable[tuple[str, frozenset[Value]]]:
        if not keys:
            return
        names = [n for n in self.mapping.match_fields if n != self.dataset.key_field]
        rows = self.dataset.rows(self.mapping.match_fields, "").filter(**{f"{self.dataset.key_field}__in": keys})
        for row in rows.values(self.dataset.key_field, *names):
            yield str(row[self.dataset.key_field]), frozenset(self.mapping.match_values(row))

    def _there(self, values: Mapping[str, frozenset[Value]]) -> dict[Value, list[tuple[str, str]]]:
        """Who else bears them, in the order of ids. `values`: by the remote id that is not to be told of again."""
        rows = [(step, value[:WIDEST], own) for own, mine in values.items() for step, value in mine]
        if not rows:
            return {}
        names = [index_name(step) for step in self.steps]
        steps, wanted, owners = zip(*rows, strict=True)
        found: dict[Value, dict[tuple[str, str], None]] = defaultdict(dict)
        with connection.cursor() as cursor:
            asked = [dumps(steps), dumps([names[n] for n in steps]), dumps(wanted), dumps(owners)]
            cursor.execute(_INDEXED, [*asked, *(self.scope.connection_id, self.scope.object_type) * 2])
            for step, value, remote_id, key in cursor.fetchall():
                found[step, value][remote_id, key] = None
        return {value: sorted(hits) for value, hits in found.items()}


_MERGE = "Merge or correct them, or link one by hand."

_CANDIDATES = """
WITH hit AS MATERIALIZED (
    SELECT DISTINCT k.local_key
    FROM ROWS FROM (json_array_elements_text(%s), json_array_elements_text(%s)) AS t (step, value)
    JOIN syncline_candidate k ON k.run_id = %s AND k.step = t.step::smallint AND k.value = t.value
)
SELECT c.local_key, c.step, c.value FROM hit JOIN syncline_candidate c ON c.local_key = hit.local_key AND c.run_id = %s
"""

_INDEXED = """
SELECT t.step::int, t.value, i.remote_id, coalesce(l.local_key, '')
FROM ROWS FROM (json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s),
                json_array_elements_text(%s)) AS t (step, name, value, own)
CROSS JOIN LATERAL (
    SELECT k.remote_id FROM syncline_identityindex k
    WHERE k.connection_id = %s AND k.object_type = %s AND k.property = t.name AND k.value = t.value
      AND k.remote_id <> t.own
    ORDER BY k.remote_id LIMIT 20) i
LEFT JOIN LATERAL (
    SELECT k.local_key FROM syncline_link k
    WHERE k.connection_id = %s AND k.object_type = %s AND k.remote_id = i.remote_id
      AND k.state NOT IN ('gone', 'merged') OFFSET 0) l ON true
"""


def source_of(mapping: CompiledMapping, step: MatchStep) -> str:
    """The field by which our records are found for this step."""
    return next((rule.source for rule in mapping.content.rules if rule.target == step.property and rule.source), "")


def can_ask(dataset: Dataset, mapping: CompiledMapping) -> bool:
    """Whether the dataset finds records by every step quickly."""
    return all(dataset.find(source_of(mapping, step), ()) is not None for step in mapping.content.match.steps)


def _contradiction(steps: Sequence[MatchStep], ours: Ours, values: frozenset[Value]) -> str:
    """A weak match is none when a stronger identifier says that they differ; the name of that one."""
    for number, step in enumerate(steps):
        mine = {v for n, v in ours.values if n == number}
        theirs = {v for n, v in values if n == number}
        if mine and theirs:
            return "" if mine & theirs else step.property
    return ""


def _linked(key: str, remote_id: str, by: str) -> Problem:
    said = f"It matches our record {key} by {by}, which is linked to remote record {remote_id}."
    return Problem("linked_to_other", f"{said} Merge the two there, correct one of them, or move the link.", group="linked")


def _existing(dataset: Dataset, keys: Sequence[str]) -> list[str]:
    if not keys:
        return []
    rows = dataset.rows((), "")
    possible = [key for key in keys if _can_be(rows, dataset.key_field, key)]
    found = rows.filter(**{f"{dataset.key_field}__in": possible}) if possible else rows.none()
    return [str(key) for key in found.values_list(dataset.key_field, flat=True)]


def _can_be(rows: Any, field: str, key: str) -> bool:
    """Somebody may have typed over our key there; asks no database."""
    try:
        rows.filter(**{field: key})
    except (ValueError, TypeError, ValidationError):
        return False
    return True


def _links(scope: Scope, keys: Sequence[str]) -> dict[str, str]:
    """What these records of ours are linked to, as far as that is still there."""
    if not keys:
        return {}
    found = Link.objects.filter(
        connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, local_key__in=list(keys)
    )
    live = found.filter(remote_id__isnull=False).exclude(state=Link.State.GONE)
    return {key: str(remote_id) for key, remote_id in live.values_list("local_key", "remote_id")}
