"""Where a dataset cannot be asked for match values: those of all our records without a counterpart, kept beside the part.

They are read when the part begins. What was written here since, by other lots or by people, is added before each look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import connection
from django.db.models import Q

from syncline.ledger.models import Link
from syncline.runs.push import prepare as preparation
from syncline.runs.push.prepare import Identifying
from syncline.runs.push.reader import CHUNK, LINK_OF

from .pages import batched

_SEEN = "SELECT (pg_snapshot_xmin(pg_current_snapshot())::xid)::text"

# By the transaction that wrote the row: no column of the app has to tell, and none that began before the last look is missed.
_LATER: Final = "age({table}.xmin) <= age(%s::xid)"
_HAS_XMIN = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p'))"

_FREE = """
SELECT s.key::text FROM ({query}) AS s (key) LEFT JOIN LATERAL ({link}) l ON true
WHERE l.remote_id IS NULL OR l.state = 'gone'
"""


@dataclass
class Staging:
    """`seen`: oldest transaction that may not have been seen by the last look."""

    work: Identifying
    alive: Callable[[], None]
    seen: str = ""

    @classmethod
    def of(cls, work: Identifying, run_id: int, alive: Callable[[], None]) -> Staging:
        """Candidates stand under `run_id`; records outside the sync's segment may be meant as well."""
        return cls(replace(work, source=replace(work.source, run_id=run_id, segment="", owner=None)), alive)

    def begin(self) -> None:
        self.seen = _oldest_running()
        preparation.stage_candidates(self.work, self.alive)
        for keys in batched(self._passed_over(), CHUNK):
            preparation.restage(self.work, keys)
            self.alive()
        preparation.analyse()

    def catch_up(self) -> None:
        """In the transaction of the lot; when that fails, the part begins anew."""
        now = _oldest_running()
        for keys in batched(self._written_since(), CHUNK):
            preparation.restage(self.work, keys)
        self.seen = now

    def _passed_over(self) -> list[str]:
        """A push has nothing to look for where theirs has gone or ours is left out; what arrives may still be meant for it."""
        scope = self.work.source.scope
        mine = Link.objects.filter(connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset)
        free = mine.filter(Q(state=Link.State.GONE) | Q(state=Link.State.EXCLUDED, remote_id=None))
        return list(free.order_by("pk").values_list("local_key", flat=True))

    def _written_since(self) -> list[str]:
        query, params = self._changed().values_list(self.work.source.dataset.key_field).query.sql_with_params()
        scope = self.work.source.scope
        with connection.cursor() as cursor:
            cursor.execute(
                _FREE.format(query=query, link=LINK_OF.format(key="s.key")),
                [*params, scope.connection_id, scope.object_type, scope.dataset],
            )
            return [row[0] for row in cursor.fetchall()]

    def _changed(self) -> Any:
        """Of a view, which does not tell, all rows."""
        rows = self.work.source.dataset.rows((), "").order_by()
        table = connection.ops.quote_name(rows.model._meta.db_table)
        if not _tells(table):
            return rows
        alias = connection.ops.quote_name(rows.query.get_initial_alias())
        return rows.extra(where=[_LATER.format(table=alias)], params=[self.seen])  # noqa: S610 - of our own


def _oldest_running() -> str:
    with connection.cursor() as cursor:
        cursor.execute(_SEEN)
        return str(cursor.fetchone()[0])


def _tells(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_HAS_XMIN, [table])
        return bool(cursor.fetchone()[0])
