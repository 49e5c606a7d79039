"""The records of a plan as they are now, here and in the ledger: set-based, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from syncline.ledger.models import Link
from syncline.runs.models import PlanRow
from syncline.runs.push.reader import LinkState, Row, Source

SIZE = 500
WRITABLE = (PlanRow.Action.CREATE, PlanRow.Action.UPDATE, PlanRow.Action.ADOPT)


@dataclass(frozen=True, slots=True)
class Found:
    """Planned rows, the same as rows of a push by local key as far as they still belong to the sync, and where it goes on."""

    planned: Sequence[PlanRow]
    rows: Sequence[Row]
    last: str


def applicable(plan_id: int | None) -> QuerySet[PlanRow]:
    """What is still to be applied."""
    return PlanRow.objects.filter(run=plan_id, state=PlanRow.State.PLANNED, action__in=WRITABLE)


def outstanding(plan_id: int | None) -> QuerySet[PlanRow]:
    """The same with what is to be removed, which has its turn at the end."""
    return PlanRow.objects.filter(run=plan_id, state=PlanRow.State.PLANNED, action__in=(*WRITABLE, PlanRow.Action.REMOVE))


def by_id(source: Source, plan_id: int | None, after: str, until: str) -> Iterator[Found]:
    """Those with an id after one and up to another."""
    rows = applicable(plan_id).filter(id__lte=int(until)) if until else applicable(plan_id)
    while some := list(rows.filter(id__gt=int(after or 0)).order_by("id")[:SIZE]):
        after = str(some[-1].pk)
        yield Found(some, _present(source, some), after)


def by_key(source: Source, plan_id: int | None, keys: Sequence[str], skip: int) -> Iterator[Found]:
    """Those of these records; `last` counts the keys."""
    for start in range(skip, len(keys), SIZE):
        some = list(applicable(plan_id).filter(local_key__in=keys[start : start + SIZE]).order_by("id"))
        yield Found(some, _present(source, some), str(min(start + SIZE, len(keys))))


def _present(source: Source, planned: Sequence[PlanRow]) -> list[Row]:
    hashes = {row.local_key: row.source_hash or 0 for row in planned}
    links = _links(source, list(hashes))
    queryset = source.queryset().filter(**{f"{source.dataset.key_field}__in": list(hashes)}).order_by()
    found = (dict(zip(source.columns, values, strict=True)) for values in source.values(queryset))
    by_key = {str(values[source.dataset.key_field]): values for values in found}
    return [Row(key, by_key[key], hashes[key], links.get(key)) for key in hashes if key in by_key]


def _links(source: Source, keys: Sequence[str]) -> dict[str, LinkState]:
    scope = source.scope
    found: Any = Link.objects.filter(
        connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, local_key__in=keys
    ).annotate(doubted=Now() - F("uncertain_at"))
    return {link.local_key: _state(link, source.run_id) for link in found}


def _state(link: Any, run_id: int) -> LinkState:
    return LinkState(
        link.remote_id,
        link.state,
        link.revision,
        link.delivered,
        link.associations,
        link.source_hash,
        link.refused_digest,
        link.uncertain_op,
        link.doubted.total_seconds() if link.doubted else 0.0,
        False,
        link.last_run_id == run_id,
        link.code,
        link.reason,
        link.seen,
    )
