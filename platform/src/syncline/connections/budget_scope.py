"""Which budgets a connection draws on: one for each limit of its connector, shared by all who share what the vendor counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from syncline.contract import ConnectorInfo, Limit

from .models import Connection
from .secrets import reveal


def scopes(connection: Connection, info: ConnectorInfo, credentials: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Limit name → scope. `credentials`: others than the stored ones, while they are being proven."""
    account, app = account_of(connection), _app(connection, credentials or connection.credentials or {})
    return {limit.name: _scope(info.key, limit, account, app) for limit in info.limits}


def account_of(connection: Connection) -> str:
    """The remote account; until a check told which it is, every connection is one of its own."""
    return connection.account_id or f"connection {connection.pk}"


def _scope(connector: str, limit: Limit, account: str, app: str) -> str:
    parts = [connector, limit.name, account[:120], *([app] if limit.scope == "app_account" else [])]
    return ":".join(parts)


def _app(connection: Connection, credentials: Mapping[str, Any]) -> str:
    """The vendor app: a registration's, or what stands behind typed credentials, known by a digest that does not lead back."""
    if connection.registration and "access_token" in credentials:
        return f"app {connection.registration.client_id}"
    typed = "\n".join(reveal(value) for _, value in sorted(credentials.items()) if isinstance(value, str))
    return hashlib.sha256(typed.encode()).hexdigest()[:16] if typed else f"connection {connection.pk}"
