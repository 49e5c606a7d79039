"""The admin API under `/_sandbox`: for tests, what Salesforce's own people and pages would do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Call


def advance(call: Call) -> Any:
    return {"now": call.org.clock.advance(float(call.json()["seconds"]))}


def seed(call: Call) -> Any:
    asked = call.json()
    return {"ids": [call.org.create(asked["object"], values) for values in asked["records"]]}


def edit(call: Call) -> Any:
    """Many records at one moment; `{n}` in a value counts them."""
    asked = call.json()
    with call.org.clock.held():
        for number, record_id in enumerate(asked["ids"]):
            values = {name: str(value).replace("{n}", str(number)) for name, value in asked["values"].items()}
            call.org.update(asked["object"], record_id, values)
    return {}


def merge(call: Call) -> Any:
    asked = call.json()
    call.org.merge(asked["object"], asked["into"], asked["gone"])
    return {}


def undelete(call: Call) -> Any:
    for record_id in call.json()["ids"]:
        call.org.undelete(record_id)
    return {}


def inject(call: Call) -> Any:
    """An event of this `change`, such as GAP_UPDATE, that names `ids` and tells nothing more."""
    asked = call.json()
    call.server.bus.inject(asked["object"], asked["change"], asked["ids"])
    return {}


async def streams(call: Call) -> Any:
    """`end`: the status all streams end with. `silent`, `keepalive`, `patience`: see EventBus. Gives how many run, and ran."""
    asked, bus = call.json(), call.server.bus
    bus.silent, bus.keepalive = asked.get("silent", bus.silent), asked.get("keepalive", bus.keepalive)
    bus.patience, bus.ending = asked.get("patience", bus.patience), asked.get("end", "")
    bus.wake()
    while bus.ending and bus.streams:
        await asyncio.sleep(0.01)
    bus.ending = ""
    return {"running": bus.streams, "begun": bus.begun}


def delete(call: Call) -> Any:
    for record_id in call.json()["ids"]:
        call.org.delete(record_id)
    return {}


def config(call: Call) -> Any:
    """`locked`: ids that nobody can write. `duplicate_rules`: object → field. `daily`, `page`: see Server. `expire`: tokens."""
    asked, server = call.json(), call.server
    server.org.locked = set(asked.get("locked", server.org.locked))
    server.org.duplicate_rules = asked.get("duplicate_rules", server.org.duplicate_rules)
    server.daily, server.page = asked.get("daily", server.daily), asked.get("page", server.page)
    if asked.get("expire"):
        server.tokens.access.clear()
    return {}


def calls(call: Call) -> Any:
    """What was called since the last time somebody asked."""
    told = {"calls": list(call.server.calls), "clients": sorted(call.server.clients)}
    call.server.calls.clear()
    return told


def subscribe(call: Call) -> Any:
    asked, sender = call.json(), call.server.outbound
    sender.url, sender.kind, sender.fields = asked["url"], asked["object"], tuple(asked.get("fields", ()))
    sender.duplicates = bool(asked.get("duplicates"))
    return {}


def messages(call: Call) -> Any:
    return call.server.outbound.as_dict()


ROUTES: Mapping[str, Callable[[Call], Any]] = {
    "advance": advance,
    "seed": seed,
    "edit": edit,
    "merge": merge,
    "delete": delete,
    "undelete": undelete,
    "inject": inject,
    "streams": streams,
    "config": config,
    "calls": calls,
    "subscribe": subscribe,
    "messages": messages,
}
