"""From the inbox to runs: events that wait become parts that fetch their records, each record once, in one transaction.
Before that, deliveries that were stored unread are read.

One worker at a time is at the events of a connection's object, and takes with a record all its events that wait: none is
overtaken by a younger one. A worker that dies leaves them as they were.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from syncline import background
from syncline.connections.models import ConnectionState
from syncline.contract import EventKind, SynclineError
from syncline.inbox import unread
from syncline.inbox.addresses import Place
from syncline.inbox.intake import MOMENT, QUEUE
from syncline.inbox.models import InboxEvent
from syncline.inbox.retention import forget_old

from . import crash, erasing
from .pull.start import pull_ids
from .stream import queueing

State = InboxEvent.State
RECORDS: Final = 500
PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 3600.0)
MOST_ATTEMPTS: Final = len(PAUSES) + 1
LINGER = 2 * MOMENT
LOOK: Final = 0.05
PARKED: Final = (ConnectionState.MISSING, ConnectionState.RECONNECT, ConnectionState.SETTINGS)
_LOCK: Final = 1_229_866_840  # of this purpose among the advisory locks of the database

log = logging.getLogger("syncline.runs")

_LOCKED = "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))"

_TAKE = """
WITH due AS MATERIALIZED (
    SELECT remote_id FROM syncline_inboxevent
    WHERE connection_id = %s AND object_type = %s AND state = 'waiting' AND not_before <= statement_timestamp()
    GROUP BY remote_id ORDER BY min(id) LIMIT %s
)
SELECT e.id, e.remote_id, e.kind, e.others, e.not_before <= statement_timestamp()
FROM syncline_inboxevent e JOIN due USING (remote_id)
WHERE e.connection_id = %s AND e.object_type = %s AND e.state = 'waiting'
ORDER BY e.id FOR UPDATE OF e SKIP LOCKED
"""

_PUT_OFF = """
UPDATE syncline_inboxevent e SET attempts = e.attempts + 1, last_error = %s,
       state = CASE WHEN e.attempts + 1 >= %s THEN 'dead' ELSE 'waiting' END,
       done_at = CASE WHEN e.attempts + 1 >= %s THEN statement_timestamp() END,
       not_before = statement_timestamp() + make_interval(secs => (%s::float8[])[e.attempts + 1])
WHERE e.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Events of one object of one connection."""

    connection_id: int
    object_type: str


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that is being dispatched. `due`: its own pause is over; it came along with a younger one otherwise.

    `remote_ids`: records to be asked for; none for a message, which is all there is. `erased`: what was kept of its record's
    values is to go.
    """

    id: int
    remote_ids: tuple[str, ...]
    due: bool
    erased: bool


def install() -> None:
    background.on(QUEUE, drain)


def drain(seconds: float) -> bool:
    """True when work is left. Goes on looking for a while, because intakes ring once for all that comes within a moment."""
    until, idle = time.monotonic() + seconds, time.monotonic() + LINGER
    while time.monotonic() < until and not background.stopping():
        if dispatch():
            idle = time.monotonic() + LINGER
        elif time.monotonic() > idle:
            return False
        else:
            time.sleep(LOOK)
    return claimable()


def tick() -> None:
    if claimable():
        background.ring(QUEUE)
    forget_old()


def claimable() -> bool:
    return bool(unread.places()) or _due().exists()


def dispatch() -> int:
    """One batch of each address and each group, so that none waits for another's flood; gives how many deliveries were read and
    events settled."""
    return read_stored() + sum(_dispatch(group) for group in groups())


def read_stored() -> int:
    return sum(_read(place) for place in unread.places())


def _read(place: Place) -> int:
    """Whatever went wrong with these, the others go on; `unread` counts it."""
    begun = unread.begin(place)
    if not begun:
        return 0
    crash.point("inbox.reading")
    try:
        with transaction.atomic():
            number = unread.read(place, begun)
            crash.point("inbox.read")
    except (OperationalError, InterfaceError):
        raise  # the database is away
    except Exception:
        log.exception("Deliveries to webhook address %s could not be read.", place.address_id)
        return 0
    return number


def groups() -> Sequence[Group]:
    found = _due().order_by().values_list("connection_id", "object_type").distinct()
    return [Group(connection_id, object_type) for connection_id, object_type in found if connection_id is not None]


def _due() -> QuerySet[InboxEvent]:
    """Not those of parked connections: they wait, and spend no attempt on it."""
    parked = Q(connection__state__in=PARKED) | Q(connection__owner__is_active=False)
    return InboxEvent.objects.filter(state=State.WAITING, not_before__lte=Now()).exclude(parked)


def _dispatch(group: Group) -> int:
    with transaction.atomic():
        taken = _take(group)
        if taken:
            crash.point("inbox.taken")
            _lead(group, taken)
            crash.point("inbox.led")
    crash.point("inbox.after")
    return len(taken)


def _take(group: Group) -> list[Taken]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCKED, [_LOCK, f"{group.connection_id} {group.object_type}"])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(_TAKE, [group.connection_id, group.object_type, RECORDS, group.connection_id, group.object_type])
        rows = cursor.fetchall()
    return [
        Taken(id_, _records(kind, remote_id, others), due, kind == EventKind.ERASED) for id_, remote_id, kind, others, due in rows
    ]


def _records(kind: str, remote_id: str, others: str) -> tuple[str, ...]:
    if kind == EventKind.MESSAGE:
        return ()
    return (remote_id, *(json.loads(others) if kind == EventKind.MERGED else ()))


def _lead(group: Group, taken: Sequence[Taken]) -> None:
    if erased := [one for event in taken if event.erased for one in event.remote_ids]:
        erasing.forget(group.connection_id, group.object_type, erased)
    try:
        with transaction.atomic():
            _settle(taken, pulled=_pull(group, taken), passed_on=_pass_on(group, taken))
    except DatabaseError:
        raise
    except SynclineError as error:
        _put_off(taken, str(error))
    except Exception as error:
        log.exception("Events of connection %s, object %s could not be dispatched.", group.connection_id, group.object_type)
        _put_off(taken, f"{type(error).__name__}; look into the log of the worker.")


def _pull(group: Group, taken: Sequence[Taken]) -> bool:
    """Whether any sync asks for the records concerned."""
    ids = list(dict.fromkeys(one for event in taken for one in event.remote_ids))
    return bool(ids and pull_ids(group.connection_id, group.object_type, ids))


def _pass_on(group: Group, taken: Sequence[Taken]) -> bool:
    syncs = queueing.passing_on(group.connection_id)
    queueing.queue(syncs, [event.id for event in taken])
    return bool(syncs)


def _settle(taken: Sequence[Taken], *, pulled: bool, passed_on: bool) -> None:
    done = [one.id for one in taken if passed_on or (pulled and one.remote_ids)]
    ignored = [one.id for one in taken if one.id not in set(done)]
    for state, ids in ((State.DONE, done), (State.IGNORED, ignored)):
        InboxEvent.objects.filter(pk__in=ids).update(state=state, done_at=Now(), last_error="")


def _put_off(taken: Sequence[Taken], reason: str) -> None:
    ids = [one.id for one in taken if one.due]
    with connection.cursor() as cursor:
        cursor.execute(_PUT_OFF, [reason, MOST_ATTEMPTS, MOST_ATTEMPTS, [*PAUSES, PAUSES[-1]], ids])
