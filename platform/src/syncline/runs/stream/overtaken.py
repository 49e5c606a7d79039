"""Messages that nobody counted, tried again after younger ones of their records were taken in: those stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from django.db import connection, transaction

from syncline.contract import Code, LocalChange, RecordError, Status, Written
from syncline.ledger.messages import DeadLetter
from syncline.runs.pull.local import Writer

_SAID: Final = (
    "Another message of the same record was taken in after this one, and neither says which is the younger. Dismiss it, or "
    "have it sent anew."
)

# What was tried again before is noted late, and is older all the same.
_OVERTAKEN: Final = """
SELECT t.token FROM unnest(%s::text[], %s::text[]) AS t (token, local_key)
JOIN syncline_deadletter l ON l.sync_id = %s AND l.remote_id = t.token
WHERE EXISTS (
    SELECT 1 FROM syncline_incoming i
    WHERE i.local_key = t.local_key AND i.sync_id = l.sync_id AND i.at > l.at AND NOT EXISTS (
        SELECT 1 FROM syncline_deadletter d WHERE d.sync_id = l.sync_id AND d.remote_id = i.remote_id AND d.id < l.id))
"""


class _Overtaken(Exception):
    """What was written is undone."""

    def __init__(self, tokens: frozenset[str]) -> None:
        super().__init__(f"{len(tokens)} messages were overtaken.")
        self.tokens = tokens


def write(writer: Writer, changes: Sequence[LocalChange], letters: Sequence[DeadLetter]) -> dict[str, Written]:
    """As the writer does; which record a message is of is known once it is written."""
    try:
        with transaction.atomic():
            answers = writer.write(changes)
            if found := _found(changes, answers, letters):
                raise _Overtaken(found)
            return answers
    except _Overtaken as those:
        answers = writer.write([one for one in changes if one.token not in those.tokens])
        error = RecordError(Code.CONFLICT, _SAID)
        return {**answers, **{token: Written(token, Status.REJECTED, error=error) for token in those.tokens}}


def _found(changes: Sequence[LocalChange], answers: Mapping[str, Written], letters: Sequence[DeadLetter]) -> frozenset[str]:
    keys = {one.token: answers[one.token].local_key for one in changes if one.sequence is None}
    known = {token: key for token, key in keys.items() if key}
    if not known:
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute(_OVERTAKEN, [list(known), list(known.values()), letters[0].sync_id])
        return frozenset(token for (token,) in cursor.fetchall())
