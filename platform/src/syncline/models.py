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

__all__ = [
    "Connection",
    "ConnectionState",
    "ConnectorState",
    "Grant",
    "Installation",
    "OAuthState",
    "ObjectSnapshot",
    "Registration",
    "VaultCanary",
]
