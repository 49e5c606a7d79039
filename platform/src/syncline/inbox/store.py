"""Storing a delivery, the names of its events and the events for each connection: one statement, so one round trip and commit.

Or the delivery alone, and later what many of them told.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from django.db import connection
from django.utils import timezone

from syncline.contract.webhooks import Event, EventKind, WebhookRequest
from syncline.ledger.storable import dumps, storable

from . import prepared
from .addresses import Place
from .models import Delivery
from .reading import Reading

LONGEST_KEY: Final = 200
MOST_DATA: Final = 16_384
KINDS: Final = frozenset(EventKind)
WITHHELD: Final = frozenset({"authorization", "proxy-authorization", "cookie"})

_EVENTS = """
e AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(events)s::jsonb) AS e(
        delivery bigint, position int, name text, kind text, object_type text, remote_id text, others jsonb, key text,
        account text, occurred_at timestamptz, data jsonb, acts boolean)
)
"""

_LED = """
INSERT INTO syncline_inboxevent (delivery_id, position, connection_id, kind, object_type, remote_id, others, key, account,
                                 occurred_at, data, state, replay, received_at)
SELECT %(delivery)s, t.position, c.id, t.kind, t.object_type, t.remote_id, t.others, t.key, t.account, t.occurred_at, t.data,
       CASE WHEN NOT t.acts THEN 'unknown' WHEN c.id IS NULL THEN 'unroutable' ELSE 'waiting' END, %(replay)s,
       statement_timestamp()
FROM {source} t
LEFT JOIN syncline_connection c ON c.connector = %(connector)s
    AND CASE WHEN t.account = '' THEN c.id = %(connection)s
             ELSE c.account_id = t.account AND (%(registration)s::bigint IS NULL OR c.registration_id = %(registration)s) END
    {only}
ORDER BY t.delivery, t.position, c.id
RETURNING state
"""

_FRESH = """
fresh AS (
    INSERT INTO syncline_inboxkey (address_id, key)
    SELECT DISTINCT %(address)s::bigint, name FROM e WHERE name <> '' ORDER BY name
    ON CONFLICT DO NOTHING RETURNING key
),
taken AS (
    SELECT * FROM e WHERE name = ''
    UNION ALL
    (SELECT DISTINCT ON (e.name) e.* FROM e JOIN fresh ON fresh.key = e.name ORDER BY e.name, e.delivery, e.position)
)
"""

_STORE = f"""
WITH {_EVENTS}, {_FRESH},
kept AS (
    INSERT INTO syncline_delivery (address_id, method, url, headers, body, size, state, cause, received_at)
    SELECT %(address)s, %(method)s, %(url)s, %(headers)s::jsonb, %(body)s, %(size)s,
           CASE WHEN %(cause)s <> '' THEN 'unreadable'
                WHEN EXISTS (SELECT 1 FROM e) AND NOT EXISTS (SELECT 1 FROM taken) THEN 'repeated' ELSE 'read' END,
           %(cause)s, %(received_at)s
    RETURNING id
),
led AS ({_LED.format(source="taken", only="").replace("%(delivery)s", "(SELECT id FROM kept)")})
SELECT (SELECT id FROM kept), (SELECT count(*) FROM led WHERE state = 'waiting')
"""  # noqa: S608 - put together from the constants above

_STORE_UNREAD = """
INSERT INTO syncline_delivery (address_id, method, url, headers, body, size, state, received_at)
VALUES (%(address)s, %(method)s, %(url)s, %(headers)s::jsonb, %(body)s, %(size)s, 'stored', %(received_at)s) RETURNING id
"""

_SETTLE = f"""
WITH {_EVENTS}, {_FRESH},
led AS ({_LED.format(source="taken", only="").replace("%(delivery)s", "t.delivery")})
UPDATE syncline_delivery d SET cause = r.cause,
    state = CASE WHEN r.cause <> '' THEN 'unreadable' WHEN r.events > 0 AND k.delivery IS NULL THEN 'repeated' ELSE 'read' END
FROM jsonb_to_recordset(%(read)s::jsonb) AS r(delivery bigint, events int, cause text)
LEFT JOIN (SELECT DISTINCT delivery FROM taken) k ON k.delivery = r.delivery
WHERE d.id = r.delivery
"""  # noqa: S608

_AGAIN = f"WITH {_EVENTS}, led AS ({_LED}) SELECT count(*), count(*) FILTER (WHERE state = 'waiting') FROM led"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Stored:
    """`waiting`: events that lead somewhere."""

    delivery_id: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Made:
    events: int = 0
    waiting: int = 0


def store(place: Place, request: WebhookRequest, reading: Reading) -> Stored:
    """Commits when it returns, unless the caller has a transaction open."""
    values = {
        **_whereto(place),
        **_kept(place, request),
        "events": dumps(_rows(reading.events)),
        "replay": False,
        "cause": storable(reading.cause),
    }
    row = prepared.row(_STORE, values)
    assert row is not None
    return Stored(*row)


def store_unread(place: Place, request: WebhookRequest) -> None:
    """Commits when it returns, as `store` does; somebody reads it later."""
    prepared.row(_STORE_UNREAD, {"address": place.address_id, **_kept(place, request)})


def settle(place: Place, readings: Mapping[int, Reading]) -> None:
    """What unread deliveries told, in the order of their numbers. They are locked by the caller's transaction."""
    told = [{"delivery": id_, "events": len(read.events), "cause": storable(read.cause)} for id_, read in readings.items()]
    rows = [{**row, "delivery": id_} for id_, read in readings.items() for row in _rows(read.events)]
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, {**_whereto(place), "events": dumps(rows), "read": dumps(told), "replay": False})


def store_again(
    place: Place, delivery: Delivery, reading: Reading, *, positions: Sequence[int] | None, connection_id: int | None
) -> Made:
    """Events once more, whatever was delivered before: all, or those at some positions; for all connections, or one."""
    rows = [row for row in _rows(reading.events) if positions is None or row["position"] in positions]
    only = "AND c.id = %(only)s" if connection_id else ""
    values = {**_whereto(place), "events": dumps(rows), "replay": True, "delivery": delivery.pk, "only": connection_id}
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN.format(source="e", only=only), values)
        made = Made(*cursor.fetchone())
    state = Delivery.State.UNREADABLE if reading.cause else Delivery.State.READ
    Delivery.objects.filter(pk=delivery.pk).update(state=state, cause=storable(reading.cause), replayed_at=timezone.now())
    return made


def _whereto(place: Place) -> Mapping[str, Any]:
    return {
        "address": place.address_id,
        "connector": place.connector,
        "connection": place.connection_id,
        "registration": place.registration_id,
    }


def _kept(place: Place, request: WebhookRequest) -> Mapping[str, Any]:
    telling = _Telling.of(place.secrets)
    return {
        "method": request.method[:10],
        "url": storable(telling.without(request.url)),
        "headers": dumps({n: "•••" if n in WITHHELD else telling.without(v) for n, v in request.headers.items()}),
        "body": request.body,
        "size": len(request.body),
        "received_at": request.received_at,
    }


class _Telling:
    """Some vendors cannot sign and send the secret itself along, in a header or in the address."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._escaped = re.compile("|".join("".join(map(_written, secret.encode())) for secret in secrets) or r"(?!)")

    @staticmethod
    @lru_cache(maxsize=256)
    def of(secrets: tuple[str, ...]) -> _Telling:
        return _Telling(secrets)

    def without(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "•••")
        return self._escaped.sub("•••", text) if "%" in text or "+" in text else text


def _written(byte: int) -> str:
    """As a byte may stand in an address: senders do not agree which are to be escaped."""
    plain = [re.escape(chr(byte))] if byte < 128 else []
    return f"(?:{'|'.join([*plain, *([r'[+]'] if byte == 32 else []), f'%(?i:{byte:02x})'])})"


def _rows(events: Sequence[Event]) -> list[Mapping[str, Any]]:
    return [_row(position, event) for position, event in enumerate(events)]


def _row(position: int, event: Event) -> Mapping[str, Any]:
    at = event.occurred_at
    known = event.kind in KINDS
    return {
        "position": position,
        "name": _name(event.key),
        "kind": str(event.kind) if known else EventKind.UNKNOWN.value,
        "object_type": event.object_type,
        "remote_id": event.remote_id,
        "others": list(event.others),
        "key": event.key,
        "account": event.account,
        "occurred_at": (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).isoformat() if at else None,
        "data": event.data if event.kind == EventKind.MESSAGE else _small(event.data),
        "acts": _acts(event) if known else False,
    }


def _acts(event: Event) -> bool:
    """Whether it leads to a record; a message is what it is, and may be about nothing in particular."""
    if event.kind == EventKind.MESSAGE:
        return bool(event.object_type)
    return bool(event.kind != EventKind.UNKNOWN and event.object_type and event.remote_id)


def _name(key: str) -> str:
    """The vendor's name of an event in a length that an index takes."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def _small(data: Any) -> Any:
    return data if len(dumps(data)) <= MOST_DATA else {"left_out": "This is too large to be kept here; see the delivery."}
