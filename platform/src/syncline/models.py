"""The models of the one Django app `syncline`; each stands in the folder of its concern."""

from __future__ import annotations

from .catalog.models import CatalogChange, ObjectSnapshot
from .connections.api_keys import ApiKey
from .connections.budget_models import Budget, BudgetUse
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
from .inbox.models import AddressName, Delivery, InboxEvent, InboxKey, Refusal, WebhookAddress
from .ledger.messages import DeadLetter, Incoming, Latest, Outgoing
from .ledger.models import Candidate, Entry, ErrorGroup, IdentityIndex, IndexState, Link
from .ledger.pulled import Arrival, Checkpoint, Conflict, Listed
from .outbox.models import OutboxKey
from .runs.models import PlanRow, Run, RunPart, StreamWorker, WorkerCanary
from .syncs.models import FieldRule, MappingVersion, MatchStepRow, Sync

__all__ = [
    "AddressName",
    "ApiKey",
    "Arrival",
    "Budget",
    "BudgetUse",
    "Candidate",
    "CatalogChange",
    "Checkpoint",
    "Conflict",
    "Connection",
    "ConnectionState",
    "ConnectorState",
    "DeadLetter",
    "Delivery",
    "Entry",
    "ErrorGroup",
    "FieldRule",
    "Grant",
    "IdentityIndex",
    "InboxEvent",
    "InboxKey",
    "Incoming",
    "IndexState",
    "Installation",
    "Latest",
    "Link",
    "Listed",
    "MappingVersion",
    "MatchStepRow",
    "OAuthState",
    "ObjectSnapshot",
    "OutboxKey",
    "Outgoing",
    "PlanRow",
    "Refusal",
    "Registration",
    "Run",
    "RunPart",
    "StreamWorker",
    "Sync",
    "VaultCanary",
    "WebhookAddress",
    "WorkerCanary",
]
