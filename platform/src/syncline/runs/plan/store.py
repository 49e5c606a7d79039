"""The rows of a plan in the database: written in batches under the part's fence, with the counters of their actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.ledger import writer
from syncline.ledger.records import Fence
from syncline.ledger.storable import dumps
from syncline.runs.models import PlanRow

from .rows import COUNTERS, Planned

PLAN_DAYS = 30
FORGET_AT_ONCE = 20_000

# The rows as they were, so that a record that is planned a second time (after a crash, or because it changed) counts once.
_SAVE = """
WITH given AS (
    SELECT * FROM json_to_recordset(%s::json) AS t (local_key text, action text, remote_id text, reason text, changes jsonb,
        kept jsonb, associations jsonb, prints jsonb, revision bigint, source_hash bigint)
), before AS (
    SELECT p.action, jsonb_path_exists(p.associations, '$.*.missing[*]') AS waiting
    FROM syncline_planrow p JOIN given g ON g.local_key = p.local_key WHERE p.run_id = %s
), stored AS (
    INSERT INTO syncline_planrow AS p
        (run_id, local_key, action, remote_id, reason, changes, kept, associations, prints, revision, source_hash)
    SELECT %s, local_key, action, remote_id, reason, changes, kept, associations, prints, revision, source_hash
    FROM given ORDER BY local_key
    ON CONFLICT (run_id, local_key) DO UPDATE SET action = excluded.action, remote_id = excluded.remote_id,
        reason = excluded.reason, changes = excluded.changes, kept = excluded.kept, associations = excluded.associations,
        prints = excluded.prints, revision = excluded.revision, source_hash = excluded.source_hash
)
SELECT action, waiting, count(*) FROM before GROUP BY action, waiting
"""


def save(fence: Fence, rows: Sequence[Planned]) -> None:
    """Raises FenceLost."""
    if not rows:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SAVE, [dumps([asdict(row) for row in rows]), fence.run_id, fence.run_id])
        counts = Counter(COUNTERS[row.action] for row in rows)
        counts["waiting"] = sum(any(one["missing"] for one in row.associations.values()) for row in rows)
        known = 0
        for action, waiting, number in cursor.fetchall():
            known += number
            counts[COUNTERS[PlanRow.Action(action)]] -= number
            counts["waiting"] -= number if waiting else 0
        writer.advance(cursor, fence, counts, progress=known < len(rows))


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a row. `revision`, `remote_id`: of the link by now, for a row that stays planned."""

    id: int
    state: str
    reason: str
    revision: int
    remote_id: str | None


_SETTLE = """
UPDATE syncline_planrow p SET state = t.state, reason = CASE WHEN t.reason = '' THEN p.reason ELSE t.reason END,
       revision = t.revision, remote_id = t.remote_id
FROM json_to_recordset(%s::json) AS t (id bigint, state text, reason text, revision bigint, remote_id text)
WHERE p.id = t.id AND p.state = 'planned'
RETURNING p.state
"""


def settle(cursor: CursorWrapper, told: Sequence[Told]) -> int:
    """Keeps what became of rows; gives how many are done with. The caller holds the part's fence in the same transaction."""
    cursor.execute(_SETTLE, [dumps([asdict(one) for one in told])])
    return sum(state != PlanRow.State.PLANNED for (state,) in cursor.fetchall())


_FORGET = """
DELETE FROM syncline_planrow WHERE id IN (
    SELECT p.id FROM syncline_run r JOIN syncline_planrow p ON p.run_id = r.id
    WHERE r.kind = 'plan' AND r.finished_at < now() - make_interval(days => %s) LIMIT %s
)
"""


def forget_old() -> int:
    """Removes rows of plans that ended more than SYNCLINE_PLAN_DAYS ago, some at a time; gives how many."""
    days = int(getattr(settings, "SYNCLINE_PLAN_DAYS", PLAN_DAYS))
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [days, FORGET_AT_ONCE])
        return int(cursor.rowcount)
