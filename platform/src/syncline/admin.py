"""Where Django looks for pages; they stand in `syncline.pages`."""

from __future__ import annotations

from syncline.pages import (
    arrivals,
    catalog,
    conflicts,
    connections,
    connectors,
    inbox,
    ledger,
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
    "inbox",
    "ledger",
    "registrations",
    "runs",
    "syncs",
    "webhooks",
]
