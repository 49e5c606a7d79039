"""Where Django looks for pages; they stand in `syncline.pages`."""

from __future__ import annotations

from syncline.pages import (
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
