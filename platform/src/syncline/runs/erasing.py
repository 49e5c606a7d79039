"""A record was deleted there by a person's right to it: what the host kept of its values goes too.

The link stays, with fingerprints instead of values, so that the record is not taken for an unknown one; whether it is gone is
asked as after any other event. Our own record is the app's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection

_TOLD: Final = "connection_id = %(connection)s AND object_type = %(object)s AND remote_id = ANY(%(ids)s)"
_LINKS: Final = f"SELECT id FROM syncline_link WHERE {_TOLD}"  # noqa: S608 - put together from the constants here
_SYNCS: Final = "SELECT id FROM syncline_sync WHERE connection_id = %(connection)s AND object_type = %(object)s"

# In the order in which runs lock these tables.
_STATEMENTS: Final = (
    f"DELETE FROM syncline_identityindex WHERE {_TOLD}",  # noqa: S608
    f"DELETE FROM syncline_arrival WHERE sync_id IN ({_SYNCS}) AND remote_id = ANY(%(ids)s)",  # noqa: S608
    f"UPDATE syncline_entry SET sent = '{{}}', message = '' WHERE link_id IN ({_LINKS})",  # noqa: S608
    f"DELETE FROM syncline_conflict WHERE link_id IN ({_LINKS})",  # noqa: S608
    f"""
UPDATE syncline_planrow SET changes = '{{}}', kept = '{{}}',
       state = CASE WHEN state = 'planned' AND action NOT IN ('delete', 'remove') THEN 'stale' ELSE state END
WHERE remote_id = ANY(%(ids)s) AND run_id IN (SELECT id FROM syncline_run WHERE sync_id IN ({_SYNCS}))
""",  # noqa: S608
    f"""
UPDATE syncline_delivery SET body = '', cause = %(cause)s
WHERE id IN (SELECT delivery_id FROM syncline_inboxevent WHERE {_TOLD} AND kind <> 'erased') AND body <> ''
""",  # noqa: S608
    f"UPDATE syncline_inboxevent SET data = '{{}}' WHERE {_TOLD} AND data <> '{{}}'",  # noqa: S608
)
EMPTIED: Final = "Its text was removed: it told of a record that was deleted by a person's right to it. It cannot be replayed."


def forget(connection_id: int, object_type: str, remote_ids: Sequence[str]) -> None:
    """In the caller's transaction."""
    values = (("connection", connection_id), ("object", object_type), ("ids", list(remote_ids)), ("cause", EMPTIED))
    with connection.cursor() as cursor:
        for statement in _STATEMENTS:
            cursor.execute(statement, dict(values))
