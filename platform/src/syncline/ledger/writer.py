"""The one place that writes links and entries: set-based, fenced, by compare-and-set on the link's revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import Op, Status, SynclineError

from . import conflicts
from .records import Fence, Mark, Outcome, Problem, Scope
from .storable import dumps, storable

COUNTERS = (
    "read",
    "created",
    "updated",
    "adopted",
    "unchanged",
    "ambiguous",
    "rejected",
    "excluded",
    "gone",
    "waiting",
    "removed",
    "withheld",
    "stale",
    "conflicts",
    "calls",
)

REMOVING = frozenset({Op.ARCHIVE, Op.DELETE})
SETTLED = frozenset({Status.CREATED, Status.UPDATED, Status.UNCHANGED, Status.REJECTED})


LONGEST = 2000
"""Characters of a sentence that are kept: it may quote what a system answered."""

NO_PROBLEM = Problem("", "")


class FenceLost(SynclineError):
    """Another worker has taken over this part of the run; what was not stored is read again."""


_MARK = """
INSERT INTO syncline_link AS l
    (connection_id, object_type, dataset, local_key, remote_id, state, revision, uncertain_op, uncertain_at, refused_digest,
     delivered, source_hash)
SELECT %s, %s, %s, m.key, m.remote_id, 'uncertain', m.revision + 1, m.op, NULL, m.identity,
       coalesce(m.settled, '{}'), m.source_hash
FROM json_to_recordset(%s::json) AS m (
    key text, remote_id text, revision bigint, op text, identity text, settled jsonb, source_hash bigint)
ORDER BY m.key
ON CONFLICT (connection_id, object_type, dataset, local_key) DO UPDATE SET
    state = 'uncertain', remote_id = excluded.remote_id, revision = excluded.revision,
    uncertain_op = excluded.uncertain_op, uncertain_at = NULL, refused_digest = excluded.refused_digest,
    source_hash = excluded.source_hash,
    delivered = CASE WHEN excluded.source_hash IS NULL THEN l.delivered ELSE excluded.delivered END
WHERE l.revision = excluded.revision - 1
RETURNING l.local_key
"""

_RECORD = """
WITH o AS (
    SELECT * FROM json_to_recordset(%s::json) AS t (
        key text, revision bigint, state text, remote_id text, delivered jsonb, associations jsonb, source_hash bigint,
        refused text, code text, reason text, op text, status text, sent jsonb, doubt text, counted bool,
        vanished text, seen jsonb)
), stored AS (
    INSERT INTO syncline_link AS l
        (connection_id, object_type, dataset, local_key, remote_id, state, revision, delivered, associations, source_hash,
         refused_digest, code, reason, uncertain_op, uncertain_at, last_run_id, delivered_at, checked_at, seen)
    SELECT %s, %s, %s, key, remote_id, state, revision + 1, delivered, associations, source_hash,
           refused, code, reason, doubt, CASE WHEN doubt <> '' THEN now() END, CASE WHEN counted THEN %s END,
           CASE WHEN status IN ('created', 'updated', 'unchanged') THEN now() END, now(), seen
    FROM o ORDER BY key
    ON CONFLICT (connection_id, object_type, dataset, local_key) DO UPDATE SET
        remote_id = excluded.remote_id, state = excluded.state, revision = excluded.revision, delivered = excluded.delivered,
        associations = excluded.associations, source_hash = excluded.source_hash, refused_digest = excluded.refused_digest,
        code = excluded.code, reason = excluded.reason, uncertain_op = excluded.uncertain_op,
        uncertain_at = excluded.uncertain_at, last_run_id = coalesce(excluded.last_run_id, l.last_run_id),
        delivered_at = coalesce(excluded.delivered_at, l.delivered_at), checked_at = excluded.checked_at,
        seen = CASE WHEN excluded.seen = '{}' THEN l.seen ELSE l.seen || excluded.seen END
    WHERE l.revision = excluded.revision - 1
    RETURNING l.id, l.local_key
), logged AS (
    INSERT INTO syncline_entry (link_id, run_id, at, op, status, remote_id, code, message, sent)
    SELECT stored.id, %s, now(), o.op, o.status, coalesce(o.remote_id, o.vanished), o.code, o.reason, o.sent
    FROM stored JOIN o ON o.key = stored.local_key WHERE o.status <> ''
)
SELECT local_key, id FROM stored
"""

_GROUPS = """
INSERT INTO syncline_errorgroup AS g (run_id, cause, state, code, property, message, count, samples)
SELECT %s, cause, state, code, property, message, count, samples::jsonb
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])
     AS t (cause, state, code, property, message, count, samples)
ORDER BY cause
ON CONFLICT (run_id, cause) DO UPDATE SET count = g.count + excluded.count,
    samples = CASE WHEN jsonb_array_length(g.samples) < 20 THEN g.samples || excluded.samples ELSE g.samples END
"""

_IDENTITIES = """
INSERT INTO syncline_identityindex AS i (connection_id, object_type, property, value, remote_id)
SELECT %s, %s, property, left(value, 700), remote_id
FROM unnest(%s::text[], %s::text[], %s::text[]) AS t (property, value, remote_id)
ORDER BY property, value, remote_id
ON CONFLICT (connection_id, object_type, property, value, remote_id) DO UPDATE SET seen_at = now()
"""

# What a survivor took over is known as of when it was seen at the merged one, so that a doubtful hit is looked at once more.
_UNINDEX = """
WITH gone AS (
    DELETE FROM syncline_identityindex WHERE id IN (
        SELECT id FROM syncline_identityindex WHERE connection_id = %s AND object_type = %s AND remote_id = ANY(%s)
        FOR UPDATE SKIP LOCKED)
    RETURNING connection_id, object_type, property, value, remote_id, seen_at
)
INSERT INTO syncline_identityindex (connection_id, object_type, property, value, remote_id, seen_at)
SELECT g.connection_id, g.object_type, g.property, g.value, t.survivor, g.seen_at
FROM gone g JOIN unnest(%s::text[], %s::text[]) AS t (vanished, survivor) ON t.vanished = g.remote_id AND t.survivor <> ''
WHERE g.property <> '=key'
ORDER BY g.property, g.value, t.survivor
ON CONFLICT (connection_id, object_type, property, value, remote_id) DO NOTHING
"""


def mark(scope: Scope, fence: Fence, marks: Sequence[Mark]) -> frozenset[str]:
    """Says in the ledger that these records are about to be sent; gives the keys that may be.

    A key is left out when its link changed since it was read. Raises FenceLost, or IntegrityError when a remote record
    already belongs to another link.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        hold(cursor, fence)
        rows = [
            {
                "key": m.local_key,
                "remote_id": m.remote_id,
                "revision": m.revision,
                "op": m.op,
                "identity": m.identity,
                "settled": m.settled,
                "source_hash": m.source_hash,
            }
            for m in marks
        ]
        cursor.execute(_MARK, [scope.connection_id, scope.object_type, scope.dataset, dumps(rows)])
        return frozenset(row[0] for row in cursor.fetchall())


_DOUBT = """
UPDATE syncline_link AS l SET state = 'uncertain', uncertain_op = m.op, uncertain_at = now(), source_hash = NULL,
       revision = l.revision + 1
FROM json_to_recordset(%s::json) AS m (key text, remote_id text, revision bigint, op text)
WHERE l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = m.key
  AND l.revision <> m.revision + 1 AND l.remote_id IS NOT NULL AND l.state NOT IN ('gone', 'merged')
"""


def doubt(scope: Scope, marks: Sequence[Mark]) -> None:
    """Whoever lost its claim during a call may have overwritten what its successor delivered meanwhile: these are sent again.

    Without a fence, because it is just what is not held any more. `marks` as they were given to `mark`.
    """
    rows = [{"key": m.local_key, "remote_id": m.remote_id, "revision": m.revision, "op": Op.UPDATE} for m in marks]
    with connection.cursor() as cursor:
        cursor.execute(_DOUBT, [dumps(rows), scope.connection_id, scope.object_type, scope.dataset])


def release(scope: Scope, fence: Fence, keys: Sequence[str]) -> None:
    """These records have gone from here, and others take over their remote records: their links end."""
    with transaction.atomic(), connection.cursor() as cursor:
        hold(cursor, fence)
        cursor.execute(
            "UPDATE syncline_link SET remote_id = NULL, state = 'excluded', revision = revision + 1, source_hash = NULL,"
            " delivered = '{}', associations = '{}', code = 'moved', reason = 'It is no longer here; remote record ' || remote_id"
            " || ' went over to another of our records.'"
            " WHERE connection_id = %s AND object_type = %s AND dataset = %s AND local_key = ANY(%s) AND remote_id IS NOT NULL",
            [scope.connection_id, scope.object_type, scope.dataset, list(keys)],
        )


_DATE = """
UPDATE syncline_link SET uncertain_at = now() + make_interval(secs => %s) WHERE id IN (
    SELECT id FROM syncline_link
    WHERE connection_id = %s AND object_type = %s AND dataset = %s AND state = 'uncertain' AND uncertain_at IS NULL
    FOR UPDATE SKIP LOCKED)
"""


def date_doubts(scope: Scope, after: float) -> None:
    """Doubts that nobody dated are those of a worker that died, or of one that is at it in this moment: in so many seconds
    what was sent has surely left. What somebody is writing just now is left to him: waiting for it could be mutual.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DATE, [after, scope.connection_id, scope.object_type, scope.dataset])


def record(scope: Scope, fence: Fence, outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Stores outcomes, entries, error groups, identities and counters in one fenced transaction.

    Gives the keys that were stored; one that is missing changed meanwhile and has to be read again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # first, as in mark: who waits for a link with the part in his hands would wait for ever
        hold(cursor, fence, "FOR NO KEY UPDATE")
        stored = _store(cursor, scope, fence, outcomes)
        kept = [o for o in outcomes if o.local_key in stored]
        group(cursor, fence.run_id, kept)
        _unindex(cursor, scope, kept)
        _identify(cursor, scope, kept)
        conflicts.store(cursor, fence.run_id, stored, kept)
        total = Counter(o.counter for o in kept if o.counter)
        total["waiting"] = sum(o.waiting for o in kept)
        total["conflicts"] = sum(len(o.clashes) for o in kept)
        advance(cursor, fence, total, progress=any(o.counter or o.status in SETTLED for o in kept))
    return frozenset(stored)


def advance(
    cursor: CursorWrapper, fence: Fence, counts: Counter[str], position: str | None = None, *, progress: bool = True
) -> None:
    """Adds to the part's counters and moves its cursor, under the fence. Without `progress` its attempt stays spent."""
    sets = [f"{name} = {name} + %s" for name in COUNTERS if counts[name]]
    values: list[Any] = [counts[name] for name in COUNTERS if counts[name]]
    if position is not None:
        sets.append("cursor = %s")
        values.append(position)
    sets.append("attempt = 0" if progress else "attempt = attempt")
    cursor.execute(
        f"UPDATE syncline_runpart SET {', '.join(sets)} WHERE id = %s AND fence = %s AND state = 'leased'",  # noqa: S608
        [*values, fence.part_id, fence.fence],
    )
    if cursor.rowcount != 1:
        raise FenceLost


def hold(cursor: CursorWrapper, fence: Fence, how: str = "FOR SHARE") -> None:
    cursor.execute(
        f"SELECT 1 FROM syncline_runpart WHERE id = %s AND fence = %s AND state = 'leased' {how}",  # noqa: S608
        [fence.part_id, fence.fence],
    )
    if cursor.fetchone() is None:
        raise FenceLost


def _store(cursor: CursorWrapper, scope: Scope, fence: Fence, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Ids of the links that were stored, by local key."""
    cursor.execute(
        _RECORD,
        [
            dumps([_row(o, o.problem or o.note or NO_PROBLEM) for o in outcomes]),
            scope.connection_id,
            scope.object_type,
            scope.dataset,
            fence.run_id,
            fence.run_id,
        ],
    )
    return dict(cursor.fetchall())


def _row(one: Outcome, problem: Problem) -> dict[str, Any]:
    return {
        "key": one.local_key,
        "revision": one.revision,
        "state": one.state,
        "remote_id": one.remote_id,
        "delivered": one.delivered,
        "associations": one.associations,
        "source_hash": one.source_hash,
        "refused": one.refused_digest,
        "code": problem.code,
        "reason": problem.reason[:LONGEST],
        "op": one.op or "",
        "status": one.status or "",
        "sent": one.sent,
        "doubt": one.uncertain_op,
        "counted": bool(one.counter),
        "vanished": one.vanished,
        "seen": one.seen,
    }


def group(cursor: CursorWrapper, run_id: int, outcomes: Iterable[Outcome], before: str = "") -> None:
    """Adds those with a problem to the run's error groups, by cause. `before`: what causes begin with."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.problem:
            groups.setdefault(before + cause(outcome), []).append(outcome)
    if not groups:
        return
    first = {key: (members[0], members[0].problem or Problem("", "")) for key, members in groups.items()}
    cursor.execute(
        _GROUPS,
        [
            run_id,
            list(groups),
            [o.state.value for o, _ in first.values()],
            [p.code for _, p in first.values()],
            [storable(p.property)[:200] for _, p in first.values()],
            [storable(p.reason[:LONGEST]) for _, p in first.values()],
            [len(members) for members in groups.values()],
            [dumps([m.local_key for m in members[:10]]) for members in groups.values()],
        ],
    )


def cause(outcome: Outcome) -> str:
    problem = outcome.problem or Problem("", "")
    text = "\0".join((outcome.state.value, problem.code, problem.property, problem.group))
    return blake2b(storable(text).encode(), digest_size=12).hexdigest()


def _identify(cursor: CursorWrapper, scope: Scope, outcomes: Iterable[Outcome]) -> None:
    rows = [(name, value, o.remote_id) for o in outcomes if o.remote_id for name, value in o.identities]
    if rows:
        cursor.execute(
            _IDENTITIES, [scope.connection_id, scope.object_type, *(list(column) for column in zip(*rows, strict=True))]
        )


def _unindex(cursor: CursorWrapper, scope: Scope, outcomes: Iterable[Outcome]) -> None:
    """The index forgets what is not there any more, else it would be found again and again."""
    survivors = {o.vanished: o.survivor for o in outcomes if o.vanished}
    survivors |= {o.remote_id: "" for o in outcomes if o.remote_id and o.op in REMOVING and o.status is Status.UPDATED}
    if survivors:
        ids = list(survivors)
        cursor.execute(_UNINDEX, [scope.connection_id, scope.object_type, ids, ids, list(survivors.values())])
