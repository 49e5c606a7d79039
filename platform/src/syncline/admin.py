"""Where Django looks for pages; they stand in `syncline.pages`."""

from __future__ import annotations

from syncline.pages import (
    api_keys,
    arrivals,
    catalog,
    conflicts,
    connections,
    connectors,
    dead_letters,
    inbox,
    ledger,
    outgoing,
    registrations,
    runs,
    syncs,
    webhooks,
)

__all__ = [
    "api_keys",
    "arrivals",
    "catalog",
    "conflicts",
    "connections",
    "connectors",
    "dead_letters",
    "inbox",
    "ledger",
    "outgoing",
    "registrations",
    "runs",
    "syncs",
    "webhooks",
]
