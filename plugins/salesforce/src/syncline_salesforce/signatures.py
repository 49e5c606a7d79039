"""Who delivers: Salesforce signs nothing, so a secret may go along, in a header or in the address that it was given.

Without a secret at the address, the host asks nobody: the address itself is the secret then.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from syncline.contract import Verification, WebhookRequest

HEADER: Final = "x-syncline-secret"
PARAMETER: Final = "secret"
_BEARER: Final = "bearer "


def verify(request: WebhookRequest, secrets: Sequence[str]) -> Verification:
    given = [_bytes(one) for one in _given(request)]
    if not given:
        return Verification.UNSIGNED
    known = [_bytes(secret) for secret in secrets if secret]
    fits = [hmac.compare_digest(one, secret) for one in given for secret in known]
    return Verification.GENUINE if any(fits) else Verification.FORGED


def _given(request: WebhookRequest) -> Iterator[str]:
    if HEADER in request.headers:
        yield request.headers[HEADER]
    proof = request.headers.get("authorization", "")
    if proof[: len(_BEARER)].lower() == _BEARER:
        yield proof[len(_BEARER) :]
    try:
        query = parse_qsl(urlsplit(request.url).query, max_num_fields=50)
    except ValueError:
        return
    yield from (value for name, value in query if name == PARAMETER)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
