"""Opens sessions: what a hook needs to work with one connection."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings as django_settings
from django.views.decorators.debug import sensitive_variables

from syncline.contract import Auth, AuthError, AuthMethod, Budget, ConfigError, HeaderAuth, Http, Session, UnsupportedFeature
from syncline.contract.http import CONNECT_TIMEOUT, READ_TIMEOUT
from syncline.registry import Connector

from . import access, budget_scope, effective, schema
from .budget import Lane, PostgresBudget
from .effective import ConnectorMissing
from .keyring import KeyRingError
from .models import Connection, ConnectionState, Installation
from .redaction import RedactingLogger, secret_values
from .secrets import reveal
from .token_endpoint import TokenEndpoint
from .tokens import OAuthTokens, mark


@dataclass(frozen=True, slots=True)
class Prepared:
    """A connection whose connector and settings are in order."""

    connection: Connection
    connector: Connector
    settings: Mapping[str, Any]
    method: AuthMethod


def open_session(
    connection: Connection,
    *,
    gate: Callable[[float], None] | None = None,
    patience: float = 60.0,
    pool_size: int = 16,
    lane: Lane = Lane.INTERACTIVE,
    budget: Budget | None = None,
    timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
) -> Session:
    """A session for a run or a page. Asks nobody; the first request does.

    ConfigError: connector missing, settings wrong, owner inactive. AuthError: not connected, or to be reconnected.
    Both are noted in the connection's state. `lane`: how urgent its calls are; for whom a person waits, it is interactive.
    `gate`, `patience`, `pool_size`, `timeout`: see Http. `budget`: another than the account's own.
    """
    if reason := access.parked_reason(connection):
        raise ConfigError(reason)
    ready = prepare(connection)
    if connection.state == ConnectionState.RECONNECT:
        raise AuthError(connection.state_reason)
    budget = budget or budget_of(ready, lane)
    return session_with(
        ready, stored_auth(ready), gate=gate, patience=patience, pool_size=pool_size, budget=budget, timeout=timeout
    )


def budget_of(ready: Prepared, lane: Lane, credentials: Mapping[str, Any] | None = None) -> Budget | None:
    """What every process keeps to; None when the connector declares no limits, or SYNCLINE_BUDGETS is off."""
    connection, info = ready.connection, ready.connector.info
    if not info.limits or not connection.pk or not getattr(django_settings, "SYNCLINE_BUDGETS", True):
        return None
    scopes = budget_scope.scopes(connection, info, credentials)
    return PostgresBudget(info.key, budget_scope.account_of(connection), info.limits, scopes, lane)


def prepare(connection: Connection, method: str = "") -> Prepared:
    """Connector, settings and sign-in of a connection; notes in its state what is wrong with them."""
    try:
        connector = effective.connector_of(connection)
        settings = effective.settings_of(connection, connector.info)
        return Prepared(connection, connector, settings, effective.method_of(connection, connector, method))
    except ConfigError as error:
        if connection.pk and not isinstance(error, KeyRingError):  # that is the host's fault, not the connection's
            note_config(connection, error)
        raise


def note_config(connection: Connection, error: ConfigError) -> None:
    """Connector missing or settings wrong, told once; the state to come back to is kept."""
    if isinstance(error, ConnectorMissing):
        Connection.objects.filter(pk=connection.pk).exclude(state=ConnectionState.MISSING).update(state_before=connection.state)
        mark(connection.pk, ConnectionState.MISSING, str(error))
    else:
        mark(connection.pk, ConnectionState.SETTINGS, str(error))


def session_with(
    ready: Prepared,
    auth: Auth,
    *,
    gate: Callable[[float], None] | None = None,
    patience: float = 60.0,
    pool_size: int = 16,
    budget: Budget | None = None,
    timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
) -> Session:
    connection, info = ready.connection, ready.connector.info
    log = RedactingLogger(f"syncline.connector.{info.key}", lambda: _secrets_of(connection, auth))
    http = Http(
        hosts=effective.hosts_of(info),
        auth=auth,
        budget=budget,
        log=log,
        gate=gate,
        patience=patience,
        pool_size=pool_size,
        timeout=timeout,
    )
    credentials = partial(_plain, auth, connection.credentials or {})
    return Session(ready.settings, http, Installation.current_id(), log, connection.account_id, credentials)


@sensitive_variables()
def _plain(auth: Auth, credentials: Mapping[str, Any]) -> dict[str, str]:
    if isinstance(auth, OAuthTokens):
        return {"access_token": auth.headers()["Authorization"].split(" ", 1)[-1]}
    return {name: reveal(value) for name, value in credentials.items() if isinstance(value, str)}


def stored_auth(ready: Prepared, *, insist: bool = False) -> Auth:
    """Signs in with what is stored; OAuth tokens are read from the database at every refresh."""
    connection, method = ready.connection, ready.method
    if method.kind != "none" and not connection.credentials:
        raise AuthError(f"{connection.name} is not connected yet. Connect it first.")
    if method.kind == "oauth2":
        return OAuthTokens(connection.pk, token_endpoint(ready), insist=insist)
    return given_auth(method, connection.credentials or {})


@sensitive_variables()
def given_auth(method: AuthMethod, credentials: Mapping[str, Any]) -> Auth:
    """Signs in with credentials at hand. Token kinds send the field `token`, else their only secret field, as bearer."""
    if method.kind == "none":
        return HeaderAuth({})
    if method.kind == "basic":
        pair = f"{credentials.get('username', '')}:{credentials.get('password', '')}"
        return HeaderAuth({"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})
    if method.kind in {"token", "oauth2"}:
        return HeaderAuth({"Authorization": f"Bearer {_bearer(method, credentials)}"})
    raise UnsupportedFeature(f"Signing in by {method.kind} is not supported yet. Choose another way.")


def _bearer(method: AuthMethod, credentials: Mapping[str, Any]) -> str:
    names = ["access_token"] if method.kind == "oauth2" else ["token", *schema.secret_names(method.schema)]
    for name in names:
        if credentials.get(name):
            return reveal(credentials[name])
    raise AuthError(f"The stored credentials hold no {names[-1]}. Connect again.")


def token_endpoint(ready: Prepared) -> TokenEndpoint:
    """The vendor's token endpoint with the registration's client; ConfigError when there is no registration."""
    registration = ready.connection.registration
    if registration is None or not registration.client_id:
        raise ConfigError(
            f"{ready.connection.name} has no registration with a client id. "
            f"Add one of {ready.connector.title} and choose it here."
        )
    url = effective.address(ready.method.token_url, ready.settings)
    return TokenEndpoint(
        url,
        registration.client_id,
        reveal(registration.client_secret),
        effective.hosts_of(ready.connector.info),
        ready.method.grant,
        {member: str(ready.settings.get(name, "")) for member, name in ready.method.agrees.items()},
    )


def _secrets_of(connection: Connection, auth: Auth) -> list[str]:
    client = connection.registration.client_secret if connection.registration else None
    live = auth.secrets() if isinstance(auth, OAuthTokens) else []
    used = list(auth.fixed.values()) if isinstance(auth, HeaderAuth) else []
    return secret_values(connection.credentials, client) + live + [one.split(" ", 1)[-1] for one in used]
