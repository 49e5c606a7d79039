"""What a pull writes to the ledger, in the transaction in which the records themselves are written. Links are locked before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, connection
from django.db.backends.utils import CursorWrapper

from syncline.contract import Retryable, Value

from .models import Link
from .records import Fence, Problem, Scope
from .storable import dumps, storable
from .writer import LONGEST, advance


@dataclass(frozen=True, slots=True)
class PulledLink:
    """A link as a pull leaves it. `delivered`: fingerprints added to those it has; `source_hash` counts only if `settled`."""

    local_key: str
    remote_id: str
    seen: Mapping[str, str]
    status: str
    values: Mapping[str, Value] = field(default_factory=dict)
    delivered: Mapping[str, str] = field(default_factory=dict)
    associations: Mapping[str, list[str]] = field(default_factory=dict)
    source_hash: int | None = None
    settled: bool = False
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class PulledProblem:
    """A remote record that found no place. `local_key`: of the record here that it would change, "" for none."""

    remote_id: str
    state: str
    problem: Problem
    title: str = ""
    digest: str = ""
    local_key: str = ""


_LINKS = """
WITH o AS (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        key text, remote_id text, seen jsonb, delivered jsonb, linked jsonb, hash bigint, settled bool, reopened bool,
        status text, sent jsonb)
), stored AS (
    INSERT INTO syncline_link AS l
        (connection_id, object_type, dataset, local_key, remote_id, state, revision, seen, delivered, associations, source_hash,
         last_run_id, checked_at)
    SELECT %s, %s, %s, key, remote_id, 'delivered', 1, seen, delivered, linked, CASE WHEN settled THEN hash END, %s, now()
    FROM o ORDER BY key
    ON CONFLICT (connection_id, object_type, dataset, local_key) DO UPDATE SET
        remote_id = excluded.remote_id, revision = l.revision + 1, seen = excluded.seen,
        state = CASE WHEN l.state IN ('gone', 'excluded', 'ambiguous') OR l.remote_id IS DISTINCT FROM excluded.remote_id
                     THEN 'delivered' ELSE l.state END,
        code = CASE WHEN l.state IN ('gone', 'excluded', 'ambiguous') THEN '' ELSE l.code END,
        reason = CASE WHEN l.state IN ('gone', 'excluded', 'ambiguous') THEN '' ELSE l.reason END,
        delivered = CASE WHEN l.remote_id IS DISTINCT FROM excluded.remote_id THEN excluded.delivered
                         ELSE l.delivered || excluded.delivered END,
        associations = CASE WHEN l.remote_id IS DISTINCT FROM excluded.remote_id THEN excluded.associations
                            ELSE l.associations || excluded.associations END,
        source_hash = CASE WHEN excluded.source_hash IS NOT NULL THEN excluded.source_hash
                           WHEN (SELECT o.reopened FROM o WHERE o.key = l.local_key) THEN NULL ELSE l.source_hash END,
        last_run_id = excluded.last_run_id, checked_at = now()
    WHERE l.remote_id IS NULL OR l.remote_id = excluded.remote_id OR l.state = 'gone'
    RETURNING l.id, l.local_key
), logged AS (
    INSERT INTO syncline_entry (link_id, run_id, at, op, status, remote_id, sent)
    SELECT stored.id, %s, now(), 'pull', o.status, o.remote_id, o.sent FROM stored JOIN o ON o.key = stored.local_key
    WHERE o.status <> ''
)
SELECT id, local_key FROM stored
"""


def store_links(cursor: CursorWrapper, scope: Scope, run_id: int, links: Sequence[PulledLink]) -> dict[str, int]:
    """Ids of the links by local key. Retryable when one of ours was linked to another remote record since it was looked at."""
    if not links:
        return {}
    rows = [
        {
            "key": one.local_key,
            "remote_id": one.remote_id,
            "seen": one.seen,
            "delivered": one.delivered,
            "linked": one.associations,
            "hash": one.source_hash,
            "settled": one.settled,
            "reopened": one.reopened,
            "status": one.status,
            "sent": one.values,
        }
        for one in links
    ]
    try:
        cursor.execute(_LINKS, [dumps(rows), scope.connection_id, scope.object_type, scope.dataset, run_id, run_id])
    except IntegrityError as error:  # by a push, by a person, or by a pull into another dataset
        raise Retryable(
            "Remote records were linked to others of ours in this moment. They are looked at again.", after=0.0
        ) from error
    stored = {key: id_ for id_, key in cursor.fetchall()}
    if len(stored) < len(links):
        raise Retryable("Records of ours were linked to others in this moment. They are looked at again.", after=0.0)
    return stored


_ARRIVALS = """
INSERT INTO syncline_arrival AS a (sync_id, remote_id, state, code, reason, title, digest, local_key, last_run_id)
SELECT %s, t.remote_id, t.state, t.code, t.reason, t.title, t.digest, t.local_key, %s
FROM json_to_recordset(%s::json) AS t (
    remote_id text, state text, code text, reason text, title text, digest text, local_key text)
ORDER BY t.remote_id
ON CONFLICT (sync_id, remote_id) DO UPDATE SET state = excluded.state, code = excluded.code, reason = excluded.reason,
    title = excluded.title, digest = excluded.digest, local_key = excluded.local_key, last_run_id = excluded.last_run_id,
    checked_at = now()
"""


def store_problems(cursor: CursorWrapper, sync_id: int, run_id: int, problems: Sequence[PulledProblem]) -> None:
    if not problems:
        return
    rows = [
        {
            "remote_id": one.remote_id[:200],
            "state": one.state,
            "code": one.problem.code,
            "reason": one.problem.reason[:LONGEST],
            "title": one.title[:200],
            "digest": one.digest,
            "local_key": one.local_key[:100],
        }
        for one in problems
    ]
    cursor.execute(_ARRIVALS, [sync_id, run_id, dumps(rows)])


def forget_problems(cursor: CursorWrapper, sync_id: int, remote_ids: Sequence[str]) -> None:
    """They have found their place, or are not there any more."""
    if remote_ids:
        cursor.execute(
            "DELETE FROM syncline_arrival WHERE id IN (SELECT id FROM syncline_arrival WHERE sync_id = %s AND remote_id = ANY(%s)"
            " ORDER BY id FOR UPDATE)",
            [sync_id, list(remote_ids)],
        )


_VANISHED = """
UPDATE syncline_link SET state = %s, code = %s, reason = %s, revision = revision + 1, source_hash = NULL, last_run_id = %s,
       checked_at = now()
WHERE id = ANY(%s)
"""


def vanished(cursor: CursorWrapper, run_id: int, link_ids: Sequence[int], problem: Problem, state: str = Link.State.GONE) -> None:
    if not link_ids:
        return
    cursor.execute(_VANISHED, [state, problem.code, problem.reason, run_id, list(link_ids)])
    cursor.execute(
        "INSERT INTO syncline_entry (link_id, run_id, at, op, status, remote_id, code, message)"
        " SELECT id, %s, now(), 'pull', 'gone', coalesce(remote_id, ''), %s, %s FROM syncline_link WHERE id = ANY(%s)",
        [run_id, problem.code, problem.reason, list(link_ids)],
    )


_REPOINT = """
UPDATE syncline_link l SET remote_id = t.survivor, revision = l.revision + 1, source_hash = NULL
FROM json_to_recordset(%s::json) AS t (link_id bigint, survivor text) WHERE l.id = t.link_id
"""


def repoint(cursor: CursorWrapper, survivors: Mapping[int, str]) -> None:
    """Their remote records were merged into others that no link has."""
    if survivors:
        cursor.execute(_REPOINT, [dumps([{"link_id": key, "survivor": id_} for key, id_ in survivors.items()])])


def list_ids(cursor: CursorWrapper, run_id: int, remote_ids: Sequence[str]) -> None:
    cursor.execute(
        "INSERT INTO syncline_listed (run_id, remote_id) SELECT %s, r FROM unnest(%s::text[]) AS r",
        [run_id, [storable(id_) for id_ in remote_ids]],
    )


def count(fence: Fence, counts: Mapping[str, int], *, progress: bool = True) -> None:
    with connection.cursor() as cursor:
        advance(cursor, fence, Counter(counts), progress=progress)
