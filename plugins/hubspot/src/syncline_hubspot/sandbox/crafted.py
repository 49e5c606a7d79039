"""Deliveries of a test's own making: signed as HubSpot signs, or wrongly on purpose."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
import requests

from .sending import signed


def deliver(
    url: str,
    body: Any,
    secret: str,
    *,
    signed_url: str = "",
    age_s: float = 0.0,
    headers: Mapping[str, str | None] | None = None,
) -> requests.Response:
    """Posts `body` (bytes as they are, anything else as JSON) and gives the answer.

    `signed_url`: what the signature is made of, where that is not `url`. `age_s`: how long ago it was signed. `headers` are
    added, or taken away where None.
    """
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    stamp = int((time.time() - age_s) * 1000)
    whole: dict[str, Any] = {**signed(secret, signed_url or url, raw, stamp), **(headers or {})}
    given = {name: value for name, value in whole.items() if value is not None}
    return requests.post(url, data=raw, headers=given, timeout=60, allow_redirects=False)


def event(object_id: int, word: str = "company.propertyChange", **more: Any) -> dict[str, Any]:
    """One event as HubSpot writes it; another `eventId` with each call unless one is given."""
    return {
        "eventId": time.monotonic_ns() % 1_000_000_000_000,
        "subscriptionId": 10_001,
        "portalId": 147_000_001,
        "appId": 18_221_010,
        "occurredAt": int(time.time() * 1000),
        "subscriptionType": word,
        "attemptNumber": 0,
        "objectId": object_id,
        "changeSource": "CRM_UI",
        **more,
    }
