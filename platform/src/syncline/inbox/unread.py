"""Deliveries that were stored and acknowledged unread: read in the order they came in, many at once.

One reader at a time is at an address. A reading that does not come to its end leaves them as they were and stays counted: the
next ones take fewer, then only the first, and at last that one is given up. Fewer are taken until those are passed that the last
unended reading had before it, so that good ones before a bad one cost no further reader.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

from django.db import connection, transaction

from syncline.registry import Connector, connector, registry

from . import reading, store
from .addresses import Place
from .models import Delivery
from .reading import Reading
from .replay import request_of

SIZES: Final = (500, 25, 1, 1, 1)  # deliveries, after so many readings that did not end
BYTES: Final = 8 * 1024 * 1024
SECONDS: Final = 2.0
GIVEN_UP: Final = (
    f"Reading it failed or ended the worker {len(SIZES)} times; see the workers' logs. Report it to the connector's author, and"
    " replay it when that is mended."
)
_LOCK: Final = 1_229_866_841  # of this purpose among the advisory locks of the database

_PLACES = """
SELECT a.id, coalesce(c.connector, r.connector), a.connection_id, a.registration_id FROM syncline_webhookaddress a
LEFT JOIN syncline_connection c ON c.id = a.connection_id
LEFT JOIN syncline_registration r ON r.id = a.registration_id
WHERE coalesce(c.connector, r.connector) = ANY(%s)
  AND EXISTS (SELECT 1 FROM syncline_delivery d WHERE d.address_id = a.id AND d.state = 'stored')
ORDER BY a.id
"""

_TAKE = """
SELECT id FROM (
    SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM (
        SELECT id, size FROM syncline_delivery WHERE address_id = %s AND state = 'stored' ORDER BY id LIMIT %s) first) d
WHERE before < %s
"""

_LOCKED = "SELECT pg_try_advisory_xact_lock(%s, (%s %% 2147483648)::int)"
_BEGUN = """
UPDATE syncline_webhookaddress a SET readings = least(abs(readings) + 1, 1000), careful_until = CASE WHEN readings > 0 THEN (
    SELECT max(id) FROM (
        SELECT id FROM syncline_delivery WHERE address_id = a.id AND state = 'stored'
        ORDER BY id LIMIT (%s::int[])[least(a.readings, %s)]) before)
    ELSE careful_until END
WHERE id = %s RETURNING readings
"""
_ENDED = """
UPDATE syncline_webhookaddress a SET readings = CASE
    WHEN EXISTS (SELECT 1 FROM syncline_delivery d WHERE d.address_id = a.id AND d.state = 'stored' AND d.id <= a.careful_until)
    THEN -%s ELSE 0 END
WHERE id = %s
"""


def places() -> list[Place]:
    """Where unread deliveries are, as far as their connector is here; without secrets, which no reading needs."""
    with connection.cursor() as cursor:
        cursor.execute(_PLACES, [list(registry().connectors)])
        return [Place(id_, key, account, app, True, ()) for id_, key, account, app in cursor.fetchall()]


def begin(place: Place) -> int:
    """How careful this reading is to be, from 1 on; 0 while somebody else is at it. Committed before anything is read."""
    with transaction.atomic():
        return _asked(_BEGUN, list(SIZES), len(SIZES), place.address_id) if _locked(place) else 0


def read(place: Place, begun: int) -> int:
    """Gives how many were read. For the caller's transaction, which ends it."""
    if not _locked(place):
        return 0
    last = begun > len(SIZES)
    those = _taken(place, 1 if last else SIZES[begun - 1])
    readings = ((one.pk, Reading(cause=GIVEN_UP)) for one in those) if last else _readings(connector(place.connector), those)
    told = dict(readings)
    store.settle(place, told)
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [0 if last else SIZES.index(SIZES[begun - 1]), place.address_id])
    return len(told)


def _readings(found: Connector, those: Iterable[Delivery]) -> Iterator[tuple[int, Reading]]:
    until = time.monotonic() + SECONDS
    for one in those:
        yield one.pk, reading.read(found, request_of(one), trusted=False)
        if time.monotonic() > until:
            return


def _taken(place: Place, most: int) -> list[Delivery]:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [place.address_id, most, BYTES])
        ids = [row[0] for row in cursor.fetchall()]
    return list(Delivery.objects.select_for_update().filter(pk__in=ids, state=Delivery.State.STORED).order_by("pk"))


def _locked(place: Place) -> bool:
    return bool(_asked(_LOCKED, _LOCK, place.address_id))


def _asked(sql: str, *values: int | list[int]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.fetchone()[0])
