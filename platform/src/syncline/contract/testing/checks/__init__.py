"""The checks, by what they look at. Importing this package registers all of them."""

from __future__ import annotations

from . import (
    bulk,
    catalog,
    description,
    events,
    faults,
    follow,
    logs,
    process,
    pull,
    push,
    read,
    related,
    removal,
    secrecy,
    since,
    webhook,
)

__all__ = [
    "bulk",
    "catalog",
    "description",
    "events",
    "faults",
    "follow",
    "logs",
    "process",
    "pull",
    "push",
    "read",
    "related",
    "removal",
    "secrecy",
    "since",
    "webhook",
]
