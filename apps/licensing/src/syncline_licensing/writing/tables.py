"""A batch's customers in and out of PostgreSQL: one statement each, whatever its size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
from django.db import connection

from . import arrays
from .applying import Customer, Happened, Outcome, World
from .reading import TEXTS

#: Whoever adds a product waits for the batches that do not know it yet, and those that follow wait for the product.
SKUS_LOCK: Final = 1_818_846_057

_WORLD = """
SELECT now(), coalesce((SELECT jsonb_object_agg(code, CASE WHEN active THEN id END) FROM licensing_sku), '{}')
"""

_INVENT = """
INSERT INTO licensing_customer (salesforce_id)
SELECT v.id FROM unnest(%s::text[]) WITH ORDINALITY v(id, place)
WHERE NOT EXISTS (SELECT 1 FROM licensing_customer c WHERE c.salesforce_id = v.id)
ORDER BY v.place
ON CONFLICT (salesforce_id) DO NOTHING RETURNING id
"""

_LOCK = """
SELECT id, salesforce_id, name, account_manager, sales_engineer_id, signed_tos, flags::text, sequence, last_seen
FROM licensing_customer WHERE salesforce_id = ANY(%s::text[]) ORDER BY salesforce_id FOR NO KEY UPDATE
"""

# A statement of its own, after the lock: what the batch before has committed is in it.
_LICENCES = "SELECT customer_id, sku_id, since FROM licensing_license WHERE customer_id = ANY(%s::bigint[]) AND active"

# The terms hold since this batch, or since whenever they did. A customer has been seen first by then, or this is the first time.
_CUSTOMERS = """
UPDATE licensing_customer c SET
    name = v.name, account_manager = v.account_manager, sales_engineer_id = v.sales_engineer_id, signed_tos = v.signed_tos,
    terms_since = CASE WHEN v.signed_tos THEN coalesce(v.terms_since, c.terms_since) END, flags = v.flags::jsonb,
    sequence = v.sequence, last_event = v.last_event, first_seen = coalesce(v.first_seen, c.first_seen), last_seen = v.last_seen
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bool[], %s::timestamptz[], %s::text[], %s::bigint[], %s::text[],
            %s::timestamptz[], %s::timestamptz[])
    AS v (id, name, account_manager, sales_engineer_id, signed_tos, terms_since, flags, sequence, last_event, first_seen,
          last_seen)
WHERE c.id = v.id
"""

_LICENSE = """
INSERT INTO licensing_license (customer_id, sku_id, active, since, until, last_event)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::timestamptz[], %s::timestamptz[], %s::text[])
ON CONFLICT (customer_id, sku_id) DO UPDATE
SET active = EXCLUDED.active, since = EXCLUDED.since, until = EXCLUDED.until, last_event = EXCLUDED.last_event
"""

_HISTORY = """
INSERT INTO licensing_licensechange (customer_id, sku_id, active, at, sequence, event)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::timestamptz[], %s::bigint[], %s::text[])
"""

_UNKNOWN = """
INSERT INTO licensing_unknownsku (code, count) SELECT * FROM unnest(%s::text[], %s::bigint[])
ON CONFLICT (code) DO UPDATE SET count = licensing_unknownsku.count + EXCLUDED.count, last_seen = now()
"""


def world() -> World:
    """As it stays until the transaction ends: no product is added or switched meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [SKUS_LOCK])
        cursor.execute(_WORLD)
        now, found = cursor.fetchone()
    skus: dict[str, int | None] = orjson.loads(found) if isinstance(found, str) else found
    return World(now, {code: key for code, key in skus.items() if key is not None}, frozenset(skus))


def locked(ids: Collection[str]) -> dict[str, Customer]:
    """Those customers, new ones too, nobody else's until the transaction ends; in one order, so that no two batches wait for
    each other.
    """
    asked = arrays.texts(sorted(ids))
    with connection.cursor() as cursor:
        cursor.execute(_INVENT, [asked])
        new = {row[0] for row in cursor.fetchall()}
        cursor.execute(_LOCK, [asked])
        found = {row[1]: _customer(row, new=row[0] in new) for row in cursor.fetchall()}
        by_key = {one.id: one for one in found.values()}
        cursor.execute(_LICENCES, [arrays.numbers(by_key)])
        for customer, sku, since in cursor.fetchall():
            by_key[customer].held[sku] = since
    return found


def _customer(row: Sequence[Any], *, new: bool) -> Customer:
    key, _, name, manager, engineer, signed, flags, sequence, last = row
    texts = {"name": name, "account_manager": manager, "sales_engineer_id": engineer}
    return Customer(key, texts, signed, orjson.loads(flags), sequence, None if new else last)


def store(customers: Sequence[Customer], outcome: Outcome) -> None:
    with connection.cursor() as cursor:
        for statement, columns in (
            (_CUSTOMERS, _customers(customers)),
            (_LICENSE, _licences(customers)),
            (_HISTORY, _history(outcome.history)),
            (_UNKNOWN, _unknown(outcome.unknown)),
        ):
            if columns:
                cursor.execute(statement, columns)


def _customers(them: Sequence[Customer]) -> list[str]:
    if not them:
        return []
    return [
        arrays.numbers([one.id for one in them]),
        *(arrays.texts([one.texts[name] for one in them]) for name in TEXTS),
        arrays.booleans([one.signed for one in them]),
        arrays.moments([one.terms_since for one in them]),
        arrays.texts([orjson.dumps(one.flags).decode() for one in them]),
        arrays.numbers([one.sequence for one in them]),
        arrays.texts([one.last_event for one in them]),
        arrays.moments([one.first_seen for one in them]),
        arrays.moments([one.last_seen for one in them]),
    ]


def _licences(customers: Sequence[Customer]) -> list[str]:
    found = [(one.id, sku, licence) for one in customers for sku, licence in one.licences.items()]
    if not found:
        return []
    keys, skus, licences = zip(*found, strict=True)
    return [
        arrays.numbers(keys),
        arrays.numbers(skus),
        arrays.booleans([one.active for one in licences]),
        arrays.moments([one.since for one in licences]),
        arrays.moments([one.until for one in licences]),
        arrays.texts([one.event for one in licences]),
    ]


def _history(rows: Sequence[Happened]) -> list[str]:
    if not rows:
        return []
    customers, skus, active, at, sequences, events = zip(*rows, strict=True)
    return [
        arrays.numbers(customers),
        arrays.numbers(skus),
        arrays.booleans(active),
        arrays.moments(at),
        arrays.numbers(sequences),
        arrays.texts(events),
    ]


def _unknown(codes: Mapping[str, int]) -> list[str]:
    return [arrays.texts(codes), arrays.numbers(codes.values())] if codes else []
