"""The admin API of webhooks: subscribing, and what became of the deliveries."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .admin import refused
from .webhooks import NEVER, WORDS, Subscription, Webhooks
from .wire import Call, Reply

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COMMON = tuple(f"{name}.{word}" for name in ("company", "contact", "deal") for word in WORDS)


def subscribe(call: Call) -> Reply:
    """`{"url", "secret"?, "events"?}`; an event is `company.creation`, or has eventType, propertyName and objectTypeId."""
    body: dict[str, Any] = call.body()
    url = urlsplit(str(body.get("url", "")))
    if url.scheme != "http" or url.hostname not in _LOOPBACK:
        raise refused("The sandbox delivers webhooks to this machine only: give an address like http://127.0.0.1:8000/….")
    hooks = call.server.webhooks
    hooks.url, hooks.secret = body["url"], body.get("secret") or call.server.app.client_secret
    hooks.subscriptions = [_subscription(number, given) for number, given in enumerate(body.get("events") or _COMMON, 1)]
    return read(call)


def _subscription(number: int, given: Any) -> Subscription:
    one = given if isinstance(given, dict) else {"eventType": given}
    event, name = str(one.get("eventType")), str(one.get("propertyName") or "")
    if event.partition(".")[2] not in WORDS:
        raise refused(f"There is no event {event}. Known are {', '.join(WORDS)}, each after `company.` and the like.")
    if name in NEVER:
        raise refused(f"HubSpot lets nobody subscribe to {name}.")
    if event.startswith("object.") and not one.get("objectTypeId"):
        raise refused(f"{event} needs an objectTypeId.")
    return Subscription(10_000 + number, event, str(one.get("objectTypeId") or ""), name)


def read(call: Call) -> Reply:
    return Reply(200, call.server.webhooks.as_dict())


def acknowledged(call: Call) -> Reply:
    return Reply(200, {"events": call.server.webhooks.acknowledged})


def unsubscribe(call: Call) -> Reply:
    """No more events; what waits is forgotten."""
    call.server.webhooks.stop()
    call.server.webhooks = Webhooks(call.server.clock, call.server.config)
    return Reply(204)
