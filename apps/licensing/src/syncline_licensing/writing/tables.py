"""A batch's customers in and out of PostgreSQL: one statement each, whatever its size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
from django.db import connection

from .applying import Customer, Happened, Licence, World

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
SELECT id, salesforce_id, name, account_manager, sales_engineer_id, signed_tos, terms_since, flags::text, sequence, last_event,
       first_seen, last_seen
FROM licensing_customer WHERE salesforce_id = ANY(%s) ORDER BY salesforce_id FOR NO KEY UPDATE
"""

_LICENCES = "SELECT customer_id, sku_id, active, since, until, last_event FROM licensing_license WHERE customer_id = ANY(%s)"

_CUSTOMERS = """
UPDATE licensing_customer c SET
    name = v.name, account_manager = v.account_manager, sales_engineer_id = v.sales_engineer_id, signed_tos = v.signed_tos,
    terms_since = v.terms_since, flags = v.flags::jsonb, sequence = v.sequence, last_event = v.last_event,
    first_seen = v.first_seen, last_seen = v.last_seen
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
    with connection.cursor() as cursor:
        cursor.execute(_INVENT, [sorted(ids)])
        new = {row[0] for row in cursor.fetchall()}
        cursor.execute(_LOCK, [sorted(ids)])
        found = {row[1]: _customer(row, new=row[0] in new) for row in cursor.fetchall()}
        by_key = {one.id: one for one in found.values()}
        cursor.execute(_LICENCES, [list(by_key)])
        for customer, sku, active, since, until, event in cursor.fetchall():
            by_key[customer].licences[sku] = Licence(active, since, until, event)
    return found


def _customer(row: Sequence[Any], *, new: bool) -> Customer:
    key, _, name, manager, engineer, signed, terms_since, flags, sequence, event, first, last = row
    texts = {"name": name, "account_manager": manager, "sales_engineer_id": engineer}
    seen = (None, None) if new else (first, last)
    return Customer(key, texts, signed, terms_since, orjson.loads(flags), sequence, event, *seen)


def store(customers: Collection[Customer], history: Sequence[Happened], unknown: Mapping[str, int]) -> None:
    with connection.cursor() as cursor:
        _many(cursor, _CUSTOMERS, [_row(one) for one in customers])
        licences = [
            (one.id, sku, held.active, held.since, held.until, held.event)
            for one in customers
            for sku, held in one.licences.items()
            if held.changed
        ]
        _many(cursor, _LICENSE, licences)
        _many(cursor, _HISTORY, [(h.customer, h.sku, h.active, h.at, h.sequence, h.event) for h in history])
        _many(cursor, _UNKNOWN, sorted(unknown.items()))


def _row(one: Customer) -> tuple[Any, ...]:
    texts, flags = one.texts, orjson.dumps(one.flags).decode()
    names = texts["name"], texts["account_manager"], texts["sales_engineer_id"]
    rest = one.sequence, one.last_event, one.first_seen, one.last_seen
    return one.id, *names, one.signed, one.terms_since, flags, *rest


def _many(cursor: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])
