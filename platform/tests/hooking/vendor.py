"""A vendor that signs its deliveries, the connector that reads them, and what the runs would make of its events."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from syncline import registry
from syncline.contract import AuthMethod, Capability, ConnectorInfo, ConnectorSpec, Permanent, hookimpl
from syncline.contract.webhooks import Answer, Event, EventKind, Receipt, Verification, WebhookRequest
from syncline.registry import Registry

SECRET = "signing-s3cr3t-canary"
ABLE = frozenset({Capability.VERIFY, Capability.PARSE, Capability.ACKNOWLEDGE})


def sign(body: bytes, url: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), url.encode() + body, hashlib.sha256).hexdigest()


class Signed(ConnectorSpec):
    """Its deliveries are JSON arrays of events; `{"challenge": …}` is answered."""

    able = ABLE

    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo("signed", "Signed", "1", ">=1,<2", self.able)

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod("none", "Nothing", "none")]

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        given = request.headers.get("x-signature", "")
        if not given:
            return Verification.UNSIGNED
        made = [sign(request.body, request.url, secret) for secret in secrets]
        return Verification.GENUINE if any([hmac.compare_digest(given, one) for one in made]) else Verification.FORGED

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        if request.body.startswith(b"sleep "):
            time.sleep(float(request.body[6:]))
        try:
            told = json.loads(request.body)
        except ValueError as error:
            raise Permanent("The body is no JSON.") from error
        return [] if isinstance(told, dict) else [_event(one) for one in told]

    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        if receipt == Receipt.STORED and b"challenge" in request.body:
            return Answer(200, json.loads(request.body)["challenge"].encode())
        if request.method == "GET":
            return Answer(200, request.url.rpartition("=")[2].encode())
        known = {Receipt.STORED: 200, Receipt.REFUSED: 403, Receipt.UNREADABLE: 202, Receipt.TOO_LARGE: 413, Receipt.FAILED: 503}
        return Answer(known[receipt], str(len(events)).encode())


class Brisk(Signed):
    """Answers before anybody has read what it brought."""

    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo("brisk", "Brisk", "1", ">=1,<2", self.able, answers_unread=True)

    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        return Answer({Receipt.REFUSED: 403, Receipt.TOO_LARGE: 413, Receipt.FAILED: 503}.get(receipt, 200))


class Plain(ConnectorSpec):
    """Signs nothing and answers nothing."""

    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo("plain", "Plain", "1", ">=1,<2", frozenset({Capability.PARSE}))

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return [_event(one) for one in json.loads(request.body)]


def _event(one: dict[str, Any]) -> Event:
    kind = one.get("kind", "changed")
    return Event(
        kind=EventKind(kind) if kind in set(EventKind) else EventKind.UNKNOWN,
        key=one.get("key", ""),
        account=one.get("account", ""),
        object_type=one.get("object", "things"),
        remote_id=one.get("id", ""),
        others=tuple(one.get("others", ())),
        data=one.get("data", {}),
    )


def entries() -> list[EntryPoint]:
    module = ModuleType("signed_vendor_connector")
    module.Brisk, module.Plain, module.Signed = Brisk, Plain, Signed  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    return [EntryPoint(key, f"{module.__name__}:{key.title()}", "syncline.connectors") for key in ("brisk", "plain", "signed")]


@contextmanager
def installed() -> Iterator[None]:
    with registry.using(Registry(entries())):
        yield
