"""Where Django looks for pages; they stand in `syncline.pages`."""

from __future__ import annotations

from syncline.pages import catalog, connections, connectors, ledger, registrations, runs, syncs

__all__ = ["catalog", "connections", "connectors", "ledger", "registrations", "runs", "syncs"]
