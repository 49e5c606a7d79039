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
from .ledger.models import Candidate, Entry, ErrorGroup, IdentityIndex, Link
from .runs.models import Run, RunPart
from .syncs.models import FieldRule, MappingVersion, MatchStepRow, Sync

__all__ = [
    "Candidate",
    "Connection",
    "ConnectionState",
    "ConnectorState",
    "Entry",
    "ErrorGroup",
    "FieldRule",
    "Grant",
    "IdentityIndex",
    "Installation",
    "Link",
    "MappingVersion",
    "MatchStepRow",
    "OAuthState",
    "ObjectSnapshot",
    "Registration",
    "Run",
    "RunPart",
    "Sync",
    "VaultCanary",
]
