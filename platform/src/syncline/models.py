"""The models of the one Django app `syncline`; each stands in the folder of its concern."""

from __future__ import annotations

from .catalog.models import ObjectSnapshot
from .connections.models import (
    Connection,
    ConnectionState,
    ConnectorState,
    Grant,
    Installation,
    OAuthState,
    Registration,
    VaultCanary,
)
from .syncs.models import FieldRule, MappingVersion, MatchStepRow, Sync

__all__ = [
    "Connection",
    "ConnectionState",
    "ConnectorState",
    "FieldRule",
    "Grant",
    "Installation",
    "MappingVersion",
    "MatchStepRow",
    "OAuthState",
    "ObjectSnapshot",
    "Registration",
    "Sync",
    "VaultCanary",
]
