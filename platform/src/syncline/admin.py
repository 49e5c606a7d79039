"""Where Django looks for pages; they stand in `syncline.pages`."""

from __future__ import annotations

from syncline.pages import catalog, connections, connectors, inbox, ledger, registrations, runs, syncs, webhooks

__all__ = ["catalog", "connections", "connectors", "inbox", "ledger", "registrations", "runs", "syncs", "webhooks"]
