"""What continuous syncs write to the ledger, each in one fenced transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import RemoteRecord, Value
from syncline.contract.messages import Message

from .messages import Outgoing
from .models import Link
from .records import Fence, Outcome, Problem
from .storable import dumps, storable
from .writer import LONGEST, advance, group, hold

NO_MESSAGE: Final = Message()
LARGEST: Final = 2**63 - 1
LONGEST_NAME, LONGEST_CODE = 200, 30


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a message that was to be passed on. `problem`: why it was not."""

    event_id: int
    state: str
    remote_id: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that changed a record of ours."""

    remote_id: str
    message_id: str
    local_key: str
    status: str


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that could not be taken in, and why."""

    record: RemoteRecord
    problem: Problem

    @property
    def message(self) -> Message:
        return self.record.message or NO_MESSAGE


_SETTLE = """
UPDATE syncline_outgoing o SET state = t.state, remote_id = t.remote_id, code = t.code, reason = t.reason, run_id = %s,
       settled_at = statement_timestamp()
FROM json_to_recordset(%s::json) AS t (id bigint, state text, remote_id text, code text, reason text)
WHERE o.sync_id = %s AND o.event_id = t.id AND o.state = 'waiting'
"""


def settle(fence: Fence, sync_id: int, settled: Sequence[Settled]) -> None:
    """Raises FenceLost: then whoever has the shard now sends them again, under the same ids."""
    rows = [
        {
            "id": one.event_id,
            "state": one.state,
            "remote_id": one.remote_id[:200],
            "code": one.problem.code if one.problem else "",
            "reason": storable(one.problem.reason)[:LONGEST] if one.problem else "",
        }
        for one in settled
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        hold(cursor, fence, "FOR NO KEY UPDATE")
        cursor.execute(_SETTLE, [fence.run_id, dumps(rows), sync_id])
        refused = [Outcome(str(s.event_id), 0, Link.State.REJECTED, problem=s.problem) for s in settled if s.problem]
        group(cursor, fence.run_id, refused)
        advance(cursor, fence, _relayed(settled))


#: In which counter of the run a message passed on is.
_COUNTED: Final[Mapping[str, str]] = {
    Outgoing.State.PUBLISHED: "created",
    Outgoing.State.UNCHANGED: "unchanged",
    Outgoing.State.EXCLUDED: "excluded",
    Outgoing.State.REFUSED: "rejected",
}


def _relayed(settled: Sequence[Settled]) -> Counter[str]:
    counts = Counter(_COUNTED[one.state] for one in settled)
    counts["read"] = len(settled)
    return counts


_COPY = "COPY syncline_incoming (sync_id, run_id, remote_id, message_id, local_key, status) FROM STDIN"


def take(cursor: CursorWrapper, sync_id: int, run_id: int, taken: Sequence[Taken]) -> None:
    if not taken:
        return
    with cursor.copy(_COPY) as copy:
        for one in taken:
            copy.write_row((sync_id, run_id, _place(one.remote_id), storable(one.message_id), one.local_key, one.status))


_BURY = """
INSERT INTO syncline_deadletter (sync_id, run_id, partition, remote_id, message_id, key, sequence, happened_at, body, headers,
                                 properties, code, property, reason)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, %s)
ON CONFLICT (sync_id, remote_id) DO NOTHING
"""


# Another message stood at that place before: the log was made anew. What is known of it stays, under a place of its own.
_MAKE_ROOM = """
UPDATE syncline_deadletter SET remote_id = left(remote_id, 150) || '#' || id
WHERE sync_id = %s AND remote_id = %s AND body <> %s
"""


def bury(cursor: CursorWrapper, sync_id: int, run_id: int, partition: str, dead: Sequence[Dead]) -> None:
    """With all they were, and as error groups of the run."""
    if not dead:
        return
    cursor.executemany(_MAKE_ROOM, [(sync_id, _place(one.record.id), one.message.body) for one in dead])
    cursor.executemany(_BURY, [(sync_id, run_id, partition, *_buried(one)) for one in dead])
    outcomes = [Outcome(one.record.id, 0, Link.State.REJECTED, problem=one.problem) for one in dead]
    group(cursor, run_id, outcomes, "pull ")


def _buried(one: Dead) -> tuple[Any, ...]:
    message = one.message
    return (
        _place(one.record.id),
        storable(message.id),
        None if message.key is None else storable(message.key),
        _counted(message.sequence),
        message.at,
        message.body,
        dumps(dict(message.headers)),
        dumps(_known(one.record.properties)),
        one.problem.code[:LONGEST_CODE],
        storable(one.problem.property)[:LONGEST_NAME],
        storable(one.problem.reason)[:LONGEST],
    )


def _counted(sequence: int | None) -> int | None:
    """None for one that has no room, so that no message keeps itself and those that follow from being kept."""
    return None if sequence is None or abs(sequence) > LARGEST else sequence


def _place(remote_id: str) -> str:
    """In a length that the column takes, and still each its own."""
    if len(remote_id) <= LONGEST_NAME:
        return storable(remote_id)
    return f"sha256:{sha256(remote_id.encode(errors='surrogatepass')).hexdigest()}"


def _known(properties: Mapping[str, Value]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in properties.items()}
