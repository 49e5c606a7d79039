"""Who signed a delivery: HubSpot's signature v3, and v2 and v1, which workflows still send.

Everything is compared as bytes, over the body as it came. A delivery that bears v3 is judged by that alone: the older ones hold
no time, so that whoever once saw one could send it again.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from typing import Final

from syncline.contract import Verification, WebhookRequest

OLDEST: Final = dt.timedelta(minutes=5)
NEWEST: Final = dt.timedelta(minutes=1)
#: The only escapes HubSpot decodes in the address before it signs.
_DECODED: Final = re.compile(rb"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"[0-9]{10,13}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
Signature = Callable[[bytes], bytes]


def verify(request: WebhookRequest, secrets: Sequence[str]) -> Verification:
    headers = request.headers
    if "x-hubspot-signature-v3" in headers:
        return _newest(request, headers["x-hubspot-signature-v3"], secrets)
    if "x-hubspot-signature" in headers:
        return _older(request, headers["x-hubspot-signature"], secrets)
    return Verification.UNSIGNED


def _newest(request: WebhookRequest, signature: str, secrets: Sequence[str]) -> Verification:
    stamp, given = request.headers.get("x-hubspot-request-timestamp", ""), _base64(signature)
    if given is None or not _MILLISECONDS.fullmatch(stamp):
        return Verification.MALFORMED
    age = request.received_at - dt.datetime.fromtimestamp(int(stamp) / 1000, dt.UTC)
    if not -NEWEST <= age <= OLDEST:
        return Verification.STALE
    signed = request.method.encode() + _address(request) + request.body + stamp.encode()
    return _judged(given, lambda secret: hmac.digest(secret, signed, "sha256"), secrets)


def _older(request: WebhookRequest, signature: str, secrets: Sequence[str]) -> Verification:
    version = request.headers.get("x-hubspot-signature-version", "")
    if version not in ("v1", "v2") or not _HEX.fullmatch(signature):
        return Verification.MALFORMED
    before = request.method.encode() + _raw(request.url) if version == "v2" else b""
    signed = before + request.body
    return _judged(bytes.fromhex(signature), lambda secret: hashlib.sha256(secret + signed).digest(), secrets)


def _judged(given: bytes, signature: Signature, secrets: Sequence[str]) -> Verification:
    """Every secret is tried, so that the time tells nothing; an empty one would let everybody sign."""
    fits = [hmac.compare_digest(signature(secret.encode()), given) for secret in secrets if secret]
    return Verification.GENUINE if any(fits) else Verification.FORGED


def _address(request: WebhookRequest) -> bytes:
    return _DECODED.sub(lambda found: bytes.fromhex(found[1].decode()), _raw(request.url))


def _raw(url: str) -> bytes:
    return url.encode(errors="surrogateescape")


def _base64(text: str) -> bytes | None:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == hashlib.sha256().digest_size else None
