"""How a vendor delivers webhooks, so that the suite can sign as the vendor does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from syncline.contract import Event, WebhookRequest

PARTS = frozenset({"method", "url", "body", "time"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One form of delivery.

    `sign(secret, request)`: headers with which the vendor signs this request at its `received_at`. `signs`: what the signature
    covers, of method, url, body and time. `window`: seconds after which a signature is too old; without time it never is.
    `events`: what is in `body`. Their `key`, `occurred_at` and `data` are compared where given.
    `again`: the body when it is delivered a second time, if that is another one. `challenge`: what the vendor wants to read in
    the answer.
    """

    sign: Callable[[str, WebhookRequest], Mapping[str, str]]
    body: bytes = b""
    events: tuple[Event, ...] = ()
    method: str = "POST"
    url: str = "https://syncline.example/in/k3y?from=vendor"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    signs: frozenset[str] = PARTS
    window: float = 300.0
    again: bytes = b""
    challenge: bytes = b""

    def request(self, secret: str, at: dt.datetime) -> WebhookRequest:
        """Signed with the secret at that moment, and received at the same."""
        bare = WebhookRequest(self.method, self.url, dict(self.headers), self.body, at)
        return replace(bare, headers={**bare.headers, **self.signed(secret, bare)})

    def signed(self, secret: str, request: WebhookRequest) -> dict[str, str]:
        """The signature's headers alone."""
        return {name.lower(): value for name, value in self.sign(secret, request).items()}
