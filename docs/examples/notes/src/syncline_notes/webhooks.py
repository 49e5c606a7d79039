"""What Notes tells by itself: `POST` with events, and once, when an address is entered, `GET ?challenge=…`. Both are signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from syncline.contract import Answer, Event, EventKind, Permanent, Receipt, Verification, WebhookRequest

SIGNATURE = "x-notes-signature"
FORM = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
WINDOW = 300  # seconds
KINDS = {
    "note.added": EventKind.CREATED,
    "note.changed": EventKind.CHANGED,
    "note.archived": EventKind.DELETED,
    "note.merged": EventKind.MERGED,
}
REFUSALS = {Receipt.REFUSED: 401, Receipt.TOO_LARGE: 413, Receipt.FAILED: 503}


def signature(secret: str, at: str, request: WebhookRequest) -> str:
    """Notes signs the second, the method, the address and the body's bytes."""
    told = f"{at}\n{request.method}\n{request.url}\n".encode() + request.body
    return hmac.new(secret.encode(), told, hashlib.sha256).hexdigest()


def verify(request: WebhookRequest, secrets: Sequence[str]) -> Verification:
    header = request.headers.get(SIGNATURE)
    if not header:
        return Verification.UNSIGNED
    parts = FORM.fullmatch(header)
    if parts is None:
        return Verification.MALFORMED
    at, given = parts.groups()
    if not any([hmac.compare_digest(given, signature(secret, at, request)) for secret in secrets]):
        return Verification.FORGED
    away = abs(request.received_at.timestamp() - int(at))
    return Verification.GENUINE if away <= WINDOW else Verification.STALE


def events(request: WebhookRequest) -> list[Event]:
    if request.method == "GET":
        return []
    try:
        told = json.loads(request.body)
        return [event(told["account"], one) for one in told["events"]]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise Permanent("This is not a delivery of Notes: it lacks `account` and `events`, or is not JSON.") from None


def event(account: str, told: Mapping[str, Any]) -> Event:
    """Whoever knows the secret may still send anything: what is not a text is not believed."""
    others = tuple(told.get("others", ()))
    if not all(isinstance(text, str) for text in (account, told["id"], told["note"], *others)):
        raise TypeError("Ids of Notes are texts.")
    return Event(
        KINDS.get(told["what"], EventKind.UNKNOWN),
        key=told["id"],
        account=account,
        object_type="notes",
        remote_id=told["note"],
        others=others,
        occurred_at=datetime.fromisoformat(told["at"]).astimezone(UTC),
        data={"what": told["what"]},
    )


def answer(request: WebhookRequest, receipt: Receipt) -> Answer:
    """Notes wants its challenge back as proof that somebody is there, and delivers again after anything but 2xx."""
    if receipt in REFUSALS:
        return Answer(REFUSALS[receipt])
    challenge = parse_qs(urlsplit(request.url).query).get("challenge", [""])[0]
    return Answer(200, challenge.encode())
