"""Links of the records that arrived, locked until the transaction ends; merged ones led to their survivors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
from django.db.backends.utils import CursorWrapper

from syncline.contract import RemoteRecord
from syncline.ledger.models import Link
from syncline.ledger.records import Scope

from .work import Known

_LOCK = """
SELECT id, dataset, local_key, remote_id, state, revision, delivered::text, seen::text, associations::text,
       coalesce(checked_at > statement_timestamp() - make_interval(secs => %s), false),
       CASE WHEN checked_at > statement_timestamp() - make_interval(secs => %s) THEN checked_at END
FROM syncline_link
WHERE connection_id = %s AND object_type = %s AND remote_id = ANY(%s) ORDER BY id FOR UPDATE
"""


def locked(cursor: CursorWrapper, scope: Scope, remote_ids: Sequence[str], age: float, lag: float) -> dict[str, Known]:
    """`age`: how many seconds ago these records were asked for; `lag`: how much older they may be."""
    if not remote_ids:
        return {}
    cursor.execute(_LOCK, [age, age + lag, scope.connection_id, scope.object_type, list(remote_ids)])
    found = {}
    for id_, dataset, key, remote_id, state, revision, delivered, seen, associations, *late in cursor.fetchall():
        prints, before, linked = orjson.loads(delivered), orjson.loads(seen), orjson.loads(associations)
        found[remote_id] = Known(id_, dataset, key, remote_id, state, revision, prints, before, linked, *late)
    return found


@dataclass(frozen=True)
class Merged:
    """`survivors`: link → id that answers for its record now. `lost`: links whose record went into one that another has."""

    known: Mapping[str, Known]
    survivors: Mapping[int, str] = field(default_factory=dict)
    lost: Mapping[int, str] = field(default_factory=dict)


def merged(records: Sequence[RemoteRecord], known: Mapping[str, Known]) -> Merged:
    """Of several links whose records became one, the one that has its id holds it, else the oldest."""
    now = dict(known)
    survivors: dict[int, str] = {}
    lost: dict[int, str] = {}
    for record in records:
        gone = sorted((known[id_] for id_ in record.merged if id_ in known and id_ != record.id), key=lambda k: k.id)
        gone = [one for one in gone if one.state != Link.State.MERGED]
        if gone and record.id not in now:
            heir = gone.pop(0)
            survivors[heir.id] = record.id
            now[record.id] = replace(heir, remote_id=record.id, revision=heir.revision + 1)
        lost |= {one.id: record.id for one in gone}
    return Merged(now, survivors, lost)
