"""Fields that both sides changed: opened and renewed by pulls and pushes alike, closed when the sides agree again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.utils import CursorWrapper

from syncline.contract import Value
from syncline.syncs.engine import fingerprint

from .records import Outcome
from .storable import dumps


@dataclass(frozen=True, slots=True)
class Overlap:
    """A field that both sides changed, with both values."""

    local_key: str
    property: str
    here: Value
    there: Value


_OPEN = """
INSERT INTO syncline_conflict AS c (sync_id, link_id, property, field, here, there, prints, run_id)
SELECT r.sync_id, t.link_id, t.property, coalesce((
           SELECT rule ->> 'source' FROM jsonb_array_elements(v.content -> 'rules') AS rule
           WHERE rule ->> 'target' = t.property LIMIT 1), ''), t.here, t.there, t.prints, r.id
FROM json_to_recordset(%s::json) AS t (link_id bigint, property text, here jsonb, there jsonb, prints jsonb)
JOIN syncline_run r ON r.id = %s JOIN syncline_mappingversion v ON v.id = r.version_id
ORDER BY t.link_id, t.property
ON CONFLICT (link_id, property) WHERE decided_at IS NULL DO UPDATE SET here = excluded.here, there = excluded.there,
    prints = excluded.prints, at = CASE WHEN c.prints = excluded.prints THEN c.at ELSE now() END, run_id = excluded.run_id
"""

_CLOSE = """
UPDATE syncline_conflict c SET decided_at = now(), decision = 'agreed'
FROM json_to_recordset(%s::json) AS t (link_id bigint, agreed jsonb)
WHERE c.link_id = t.link_id AND c.decided_at IS NULL AND t.agreed ? c.property
"""


def open_(cursor: CursorWrapper, run_id: int, link_ids: Mapping[str, int], overlaps: Iterable[Overlap]) -> None:
    """One row for each field and record, however often the two sides are found to differ."""
    if rows := [_row(one, link_ids[one.local_key]) for one in overlaps if one.local_key in link_ids]:
        cursor.execute(_OPEN, [dumps(rows), run_id])


def close(cursor: CursorWrapper, link_ids: Mapping[str, int], agreed: Mapping[str, Iterable[str]]) -> None:
    """`agreed`: properties whose sides no longer contradict each other, by local key."""
    rows = [{"link_id": link_ids[key], "agreed": list(names)} for key, names in agreed.items() if key in link_ids]
    if rows:
        cursor.execute(_CLOSE, [dumps(rows)])


def store(cursor: CursorWrapper, run_id: int, link_ids: Mapping[str, int], outcomes: Sequence[Outcome]) -> None:
    """Of a push."""
    open_(
        cursor,
        run_id,
        link_ids,
        (Overlap(o.local_key, name, here, there) for o in outcomes for name, (here, there) in o.clashes.items()),
    )
    close(cursor, link_ids, {o.local_key: o.seen for o in outcomes if o.seen})


def _row(one: Overlap, link_id: int) -> dict[str, Any]:
    return {
        "link_id": link_id,
        "property": one.property,
        "here": one.here,
        "there": one.there,
        "prints": [fingerprint(one.here), fingerprint(one.there)],
    }
