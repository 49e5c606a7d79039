"""Who may use what, since when or why not; and products that become known after messages named them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from .writing.tables import SKUS_LOCK

if TYPE_CHECKING:
    from .models import Sku


class Reason(StrEnum):
    """Why a customer may not use a product."""

    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_SKU = "unknown_sku"
    INACTIVE_SKU = "inactive_sku"
    NO_LICENSE = "no_license"
    LICENSE_ENDED = "license_ended"
    TERMS_NOT_SIGNED = "terms_not_signed"


EXPLAINED: Final[Mapping[Reason, str]] = {
    Reason.UNKNOWN_CUSTOMER: "No message has told of a customer with this id.",
    Reason.UNKNOWN_SKU: "There is no product with this code.",
    Reason.INACTIVE_SKU: "The product is switched off for everybody.",
    Reason.NO_LICENSE: "The customer never had a licence for it.",
    Reason.LICENSE_ENDED: "The customer's licence for it has ended.",
    Reason.TERMS_NOT_SIGNED: "The customer has a licence, but has not signed the terms.",
}


@dataclass(frozen=True, slots=True)
class Entitlement:
    """`since`: from when on the customer may use the product. `until`: when the licence ended. `reason`: None when entitled."""

    customer: str
    sku: str
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    reason: Reason | None = None

    @property
    def entitled(self) -> bool:
        return self.reason is None


_ENTITLEMENT = """
SELECT c.id IS NOT NULL, c.signed_tos, c.terms_since, s.id IS NOT NULL, s.active, l.active, l.since, l.until
FROM (VALUES (%s::text, %s::text)) v(customer, sku)
LEFT JOIN licensing_customer c ON c.salesforce_id = v.customer
LEFT JOIN licensing_sku s ON s.code = v.sku
LEFT JOIN licensing_license l ON l.customer_id = c.id AND l.sku_id = s.id
"""


def entitlement(customer: str, sku: str) -> Entitlement:
    """One look-up. `customer`: the Salesforce id; `sku`: the code."""
    if "\0" in customer + sku:
        return Entitlement(customer, sku, reason=Reason.UNKNOWN_CUSTOMER)
    with connection.cursor() as cursor:
        cursor.execute(_ENTITLEMENT, [customer, sku])
        row = cursor.fetchone()
    reason, since, until = judged(*row)
    return Entitlement(customer, sku, since, until, reason)


Judged = tuple[Reason | None, dt.datetime | None, dt.datetime | None]


def judged(
    customer: bool,
    signed: bool | None,
    terms_since: dt.datetime | None,
    sku: bool,
    sku_active: bool | None,
    active: bool | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
) -> Judged:
    """Why not, since when, until when; from what is known of customer, product and licence (None: there is none)."""
    doubts = (
        (not customer, Reason.UNKNOWN_CUSTOMER),
        (not sku, Reason.UNKNOWN_SKU),
        (not sku_active, Reason.INACTIVE_SKU),
        (active is None, Reason.NO_LICENSE),
        (not active, Reason.LICENSE_ENDED),
        (not signed, Reason.TERMS_NOT_SIGNED),
    )
    reason = next((reason for holds, reason in doubts if holds), None)
    if reason is not None:
        return reason, None, until if reason is Reason.LICENSE_ENDED else None
    return None, max(filter(None, (since, terms_since)), default=None), None


_TAKE_EFFECT = """
WITH told AS MATERIALIZED (
    SELECT c.id, s.id AS sku_id, (c.flags ->> s.code) = 'true' AS active, c.last_seen AS at, c.sequence, c.last_event
    FROM licensing_customer c JOIN licensing_sku s ON s.id = ANY(%s) AND s.active AND c.flags ? s.code
    LEFT JOIN licensing_license l ON l.customer_id = c.id AND l.sku_id = s.id
    WHERE ((c.flags ->> s.code) = 'true') IS DISTINCT FROM coalesce(l.active, false)
    ORDER BY c.salesforce_id, s.id FOR NO KEY UPDATE OF c
),
held AS (
    INSERT INTO licensing_license AS l (customer_id, sku_id, active, since, until, last_event)
    SELECT id, sku_id, active, at, CASE WHEN NOT active THEN at END, last_event FROM told
    ON CONFLICT (customer_id, sku_id) DO UPDATE
    SET active = EXCLUDED.active, since = CASE WHEN EXCLUDED.active THEN EXCLUDED.since ELSE l.since END,
        until = EXCLUDED.until, last_event = EXCLUDED.last_event
)
INSERT INTO licensing_licensechange (customer_id, sku_id, active, at, sequence, event)
SELECT id, sku_id, active, at, sequence, last_event FROM told
"""

_NOW_KNOWN = "DELETE FROM licensing_unknownsku u USING licensing_sku s WHERE s.code = u.code AND s.id = ANY(%s)"


def hold_products() -> None:
    """From here to the end of the transaction no batch is written: those that know other products end first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SKUS_LOCK])


def take_effect(skus: Collection[Sku]) -> int:
    """Licenses customers for these products as their messages have told already; gives how many licences changed by it.

    Within the transaction that stored the products, which held them before.
    """
    keys = [sku.pk for sku in skus]
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_EFFECT, [keys])
        changed: int = cursor.rowcount
        cursor.execute(_NOW_KNOWN, [keys])
    return changed


def add_products(codes: Collection[str]) -> list[Sku]:
    """Products for codes that only messages knew so far, named like their codes."""
    from .models import Sku

    return [Sku.objects.get_or_create(code=code)[0] for code in sorted(codes)]


def as_json(found: Entitlement) -> dict[str, Any]:
    return {
        "customer": found.customer,
        "sku": found.sku,
        "entitled": found.entitled,
        "since": found.since,
        "until": found.until,
        "reason": found.reason,
        "explanation": EXPLAINED[found.reason] if found.reason else "",
    }
