"""What a person does with a connection: prove it, connect it, check it, disconnect it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from syncline.contract import Account, Auth, AuthError, Budget, ConfigError, HostRefused, Permanent, SynclineError
from syncline.registry import connectors

from . import effective, grants, schema
from .budget import Lane
from .keyring import KeyRingError
from .models import Connection, ConnectionState, ConnectorState
from .redaction import redact, secret_values
from .secrets import SecretDict
from .sessions import Prepared, budget_of, given_auth, note_config, prepare, session_with, stored_auth, token_endpoint
from .token_endpoint import Tokens
from .tokens import log, mark, stored

CHECK_PATIENCE = 15.0  # a person is waiting


def prove(connection: Connection, method: str = "", credentials: Mapping[str, Any] | None = None) -> Account:
    """The account that credentials belong to; stores nothing. Without credentials: what the connection has stored.

    The connection need not be saved yet. AuthError, ConfigError (also: another account than before) or Retryable.
    """
    ready = prepare(connection, method)
    if credentials is None:
        return _prove(ready, stored_auth(ready, insist=True), budget_of(ready, Lane.INTERACTIVE))
    if ready.method.grant in grants.BY_ITSELF and not credentials.get("access_token"):
        credentials = {"access_token": token_endpoint(ready).renew(credentials).access_token}
    return _prove(ready, given_auth(ready.method, credentials), budget_of(ready, Lane.INTERACTIVE, credentials))


def _prove(ready: Prepared, auth: Auth, budget: Budget | None) -> Account:
    session = session_with(ready, auth, patience=CHECK_PATIENCE, budget=budget)
    account = ready.connector.call.check(session=session)
    before = ready.connection
    if before.account_id and before.account_id != account.id:
        raise ConfigError(
            f"These credentials belong to the account {account.name} ({account.id}), but {before.name} writes to "
            f"{before.account_name} ({before.account_id}), whose records it knows. Make a new connection for another account."
        )
    return account


def check(connection: Connection) -> Account:
    """Proves what is stored, and notes the outcome in the connection's state, with the account's name."""
    connection.refresh_from_db()
    try:
        account = prove(connection)
    except SynclineError as error:
        note_failure(connection, error)
        connection.refresh_from_db()
        raise
    _note_account(connection, account)
    return account


def note_failure(connection: Connection, error: SynclineError) -> None:
    """The state that an error means: reconnect, settings or missing; errors that pass by themselves change nothing."""
    reason = redact(str(error), secret_values(connection.credentials))
    if isinstance(error, AuthError):
        mark(connection.pk, ConnectionState.RECONNECT, reason)
    elif isinstance(error, ConfigError) and not isinstance(error, KeyRingError | HostRefused):
        note_config(connection, type(error)(reason))
    elif isinstance(error, Permanent):
        mark(connection.pk, ConnectionState.SETTINGS, reason)


def _note_account(connection: Connection, account: Account) -> None:
    connection.account_id, connection.account_name, connection.account_url = account.id, account.name, account.url
    connection.state, connection.state_reason = ConnectionState.OK, ""
    Connection.objects.filter(pk=connection.pk).update(
        account_id=account.id,
        account_name=account.name,
        account_url=account.url,
        state=ConnectionState.OK,
        state_before="",
        state_reason="",
        checked_at=Now(),
        modified=Now(),
    )
    connection.refresh_from_db(fields=["checked_at", "modified"])


def connect(connection: Connection, method: str, data: Mapping[str, Any]) -> Account:
    """Proves typed credentials first and stores them only when the account accepts them."""
    _validate(connection, method, data)
    account = prove(connection, method, data)
    save_credentials(connection, method, data)
    _note_account(connection, account)
    return account


def store_proven(connection: Connection, method: str, data: Mapping[str, Any], account: Account) -> None:
    """Stores credentials for which `prove` has just given this account."""
    save_credentials(connection, method, data)
    _note_account(connection, account)


def note_proven(connection: Connection, account: Account) -> None:
    """Notes that the stored credentials were just proven, for instance with new settings."""
    _note_account(connection, account)


def save_credentials(connection: Connection, method: str, data: Mapping[str, Any]) -> None:
    """Stores typed credentials unproven; the connection counts as new until `check`. Saves the connection if it is new."""
    _validate(connection, method, data)
    _store(connection, method, {"credentials": SecretDict(data), "token_issued_at": None, "token_expires_at": None})


def save_tokens(connection: Connection, method: str, tokens: Tokens) -> Account:
    """Proves the tokens of a finished OAuth sign-in and stores them."""
    account = prove(connection, method, {"access_token": tokens.access_token})
    _store(connection, method, stored(tokens))
    _note_account(connection, account)
    return account


def sign_in(connection: Connection, method: str) -> Account:
    """Connects by a grant that needs no person: gets a token, proves it, and stores it with what was typed before."""
    known = connection.credentials if connection.auth_method == method else None
    tokens = token_endpoint(prepare(connection, method)).renew(grants.typed(known))
    account = prove(connection, method, {"access_token": tokens.access_token})
    _store(connection, method, stored(tokens, known))
    _note_account(connection, account)
    return account


def _store(connection: Connection, method: str, columns: Mapping[str, Any]) -> None:
    """Raises the token version, so that a refresh that is under way cannot overwrite what a person just stored."""
    if connection._state.adding:
        connection.save()
    lease = {"refresh_owner": "", "refresh_lease_until": None, "refresh_not_before": None}
    state = {"state": ConnectionState.NEW, "state_reason": "", "auth_method": method, "modified": Now()}
    rows = Connection.objects.filter(pk=connection.pk)
    rows.update(**{**lease, **state, **columns}, token_version=F("token_version") + 1)
    connection.refresh_from_db()


def _validate(connection: Connection, method: str, data: Mapping[str, Any]) -> None:
    found = effective.method_of(connection, effective.connector_of(connection), method)
    if wrong := schema.problems(found.schema, data):
        raise ConfigError(f"The credentials do not fit: {' '.join(wrong.values())}")


def disconnect(connection: Connection) -> None:
    """Forgets the credentials, and asks the vendor to take an OAuth permission back; that may fail without harm."""
    connection.refresh_from_db()
    held = dict(connection.credentials or {})
    _revoke(connection, held)
    _store(connection, connection.auth_method, {"credentials": None, "token_issued_at": None, "token_expires_at": None})


def _revoke(connection: Connection, held: Mapping[str, Any]) -> None:
    try:
        ready = prepare(connection)
        kind = next((one for one in ("refresh_token", "access_token") if held.get(one)), "")
        if ready.method.revoke_url and kind and ready.method.kind == "oauth2":
            token_endpoint(ready).revoke(effective.address(ready.method.revoke_url, ready.settings), held[kind], kind)
    except SynclineError as error:
        reason = redact(str(error), secret_values(held))
        log.warning("Connection %s: the vendor did not take the permission back. %s", connection.pk, reason)


def park_missing() -> tuple[int, int]:
    """Parks connections whose connector is not loaded or switched off, brings back those whose connector is there again.

    Gives how many of each. Cheap; called at start and by the tick.
    """
    off = set(ConnectorState.objects.filter(enabled=False).values_list("key", flat=True))
    there = [key for key in connectors() if key not in off]
    parked = sum(_park(one) for one in _not_in(there))
    back = Connection.objects.filter(connector__in=there, state=ConnectionState.MISSING)
    returned = [_bring_back(one) for one in back.only("pk", "state_before")]
    return parked, sum(returned)


def _not_in(there: list[str]) -> list[Connection]:
    return list(Connection.objects.exclude(connector__in=there).exclude(state=ConnectionState.MISSING).defer("credentials"))


def _park(connection: Connection) -> bool:
    try:
        effective.connector_of(connection)
    except ConfigError as error:
        note_config(connection, error)
        return True
    return False


def _bring_back(connection: Connection) -> bool:
    with transaction.atomic():
        rows = Connection.objects.filter(pk=connection.pk, state=ConnectionState.MISSING)
        before = connection.state_before or ConnectionState.NEW
        reason = "" if before in {ConnectionState.OK, ConnectionState.NEW} else "Check the connection: its connector is back."
        return rows.update(state=before, state_before="", state_reason=reason, modified=Now()) == 1
