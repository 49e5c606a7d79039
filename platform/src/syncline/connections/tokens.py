"""Access tokens of OAuth connections, refreshed once however many workers ask.

Who wants to refresh takes a lease on the connection's row by one UPDATE, calls the vendor outside any transaction, and
saves under the token version it started from. Everybody else keeps a token that still works, or waits and reads the new one.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from syncline.contract import AuthError, ConfigError, Retryable, SynclineError

from . import grants
from .models import Connection, ConnectionState
from .secrets import SecretDict
from .token_endpoint import TokenEndpoint, Tokens

LEASE = dt.timedelta(seconds=30)  # longer than the token endpoint's time-outs together
MARGIN = 120.0  # seconds before its end that a token is renewed, at most a tenth of its life
COOL_DOWN = dt.timedelta(seconds=30)  # after a failed refresh nobody tries for so long
PATIENCE = 25.0  # seconds to wait for somebody else's refresh
FORCED_PAUSE = 5.0  # seconds between two refreshes that a 401 asked for

log = logging.getLogger("syncline.connections")


@dataclass(frozen=True, slots=True)
class Held:
    """A token as read from the row. `good_until`: local monotonic time, measured by the database's clock."""

    version: int
    access: str = field(repr=False)
    credentials: Mapping[str, str] = field(repr=False)
    good_until: float
    margin: float
    state: str
    reason: str
    pause: float

    def usable(self) -> bool:
        return bool(self.access) and time.monotonic() < self.good_until

    def fresh(self) -> bool:
        return bool(self.access) and time.monotonic() < self.good_until - self.margin


class OAuthTokens:
    """The contract's Auth for one OAuth connection; shared by the threads of a session.

    `insist`: try even though the connection is marked for reconnection, because a person asked.
    """

    def __init__(self, connection_id: int, endpoint: TokenEndpoint, *, insist: bool = False) -> None:
        self._id, self._endpoint, self._insist = connection_id, endpoint, insist
        self._me = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._forced_at = float("-inf")

    def __repr__(self) -> str:
        return f"OAuthTokens(connection={self._id})"

    def secrets(self) -> list[str]:
        """What must not appear in a log at this moment."""
        held = self._held
        return list(held.credentials.values()) if held else []

    def headers(self) -> Mapping[str, str]:
        """The bearer header; refreshes shortly before the end. AuthError when refused, Retryable when nobody answered."""
        held = self._held
        if held is None or not held.fresh():
            held = self._current(held)
        return {"Authorization": f"Bearer {held.access}"}

    def renew(self, used: Mapping[str, str]) -> bool:
        """Gets another token than the one the vendor answered 401 to; False when that was done a moment ago."""
        rejected = used.get("Authorization", "").removeprefix("Bearer ")
        with self._lock, own_database_connection():
            if self._held and self._held.access != rejected and self._held.usable():
                return True
            if time.monotonic() - self._forced_at < FORCED_PAUSE:
                return False
            self._forced_at = time.monotonic()
            self._held = self._obtain(rejected)
            return True

    def _current(self, held: Held | None) -> Held:
        """The token to use now. While one thread renews early, the others go on with the old one."""
        patient = held is None or not held.usable()
        if not self._lock.acquire(blocking=patient):
            assert held is not None
            return held
        try:
            if self._held is None or not self._held.fresh():
                with own_database_connection():
                    self._held = self._obtain()
            return self._held
        finally:
            self._lock.release()

    def _obtain(self, rejected: str = "") -> Held:
        """A token that is fresh or at least usable, other than the rejected one: somebody's newer one, or a new one."""
        deadline = time.monotonic() + PATIENCE
        while True:
            row = read(self._id)
            good = row.usable() and row.access != rejected
            if good and row.fresh():
                return row
            if self._may_try(row, good) and self._claim(row.version):
                renewed = self._refresh(row, good)
                if renewed:
                    return renewed
            elif good:
                return row
            elif time.monotonic() > deadline:
                raise Retryable("Another worker is getting a new token and has not finished. It is tried again by itself.", 2.0)
            else:
                time.sleep(random.uniform(0.05, 0.15))  # noqa: S311 - jitter, not a secret

    def _may_try(self, row: Held, good: bool) -> bool:
        """Whether to ask the vendor; raises when that is hopeless or too early, unless the token at hand is good."""
        if row.state == ConnectionState.RECONNECT and not self._insist:
            raise AuthError(row.reason)
        if row.pause > 0 and not self._insist:
            if good:
                return False
            raise Retryable("Getting a new token failed a moment ago. It is tried again by itself.", row.pause)
        if reason := grants.lack(self._endpoint.grant, row.credentials):
            if good:
                return False
            mark(self._id, ConnectionState.RECONNECT, reason, token_version=row.version)
            raise AuthError(reason)
        return True

    def _claim(self, version: int) -> bool:
        """Takes the refresh lease if it is free and nobody has renewed, or failed to, since the row was read."""
        free = Q(refresh_lease_until=None) | Q(refresh_lease_until__lt=Now())
        if not self._insist:
            free &= (Q(refresh_not_before=None) | Q(refresh_not_before__lt=Now())) & ~Q(state=ConnectionState.RECONNECT)
        with transaction.atomic(durable=True):  # a lease inside somebody's transaction would be seen by nobody
            mine = Connection.objects.filter(free, pk=self._id, token_version=version)
            return mine.update(refresh_owner=self._me, refresh_lease_until=Now() + LEASE) == 1

    def _refresh(self, row: Held, good: bool) -> Held | None:
        """Asks the vendor under our lease; None means: read again."""
        try:
            tokens = self._endpoint.renew(row.credentials)
        except AuthError as error:
            if self._give_up(row.version, str(error)):
                raise
            return None  # somebody saved a newer token meanwhile
        except SynclineError as error:
            self._release(COOL_DOWN)
            if good:
                return row
            if isinstance(error, ConfigError):
                mark(self._id, ConnectionState.SETTINGS, str(error), token_version=row.version)
            raise
        return read(self._id) if self._save(row, tokens) else None

    def _give_up(self, version: int, reason: str) -> bool:
        """Marks the connection, unless its credentials changed since we read them."""
        mark(self._id, ConnectionState.RECONNECT, reason, token_version=version)  # before others may claim
        self._release(None)
        return Connection.objects.filter(pk=self._id, token_version=version).exists()

    def _release(self, pause: dt.timedelta | None) -> None:
        mine = Connection.objects.filter(pk=self._id, refresh_owner=self._me)
        mine.update(refresh_owner="", refresh_lease_until=None, refresh_not_before=Now() + pause if pause else None)

    def _save(self, row: Held, tokens: Tokens) -> bool:
        """Compare-and-set on version and lease: what lost its lease must not overwrite a newer token."""
        kept = Tokens(tokens.access_token, tokens.refresh_token or row.credentials.get("refresh_token", ""), tokens.expires_in)
        mine = Connection.objects.filter(pk=self._id, token_version=row.version, refresh_owner=self._me)
        saved = mine.update(**stored(kept, row.credentials), token_version=row.version + 1) == 1
        if saved:
            log.info("Connection %s has a new token.", self._id)
        return saved


def stored(tokens: Tokens, held: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The columns that keep tokens, beside what was typed to get them; the lease ends with them."""
    typed = grants.typed(held)
    ends = Now() + dt.timedelta(seconds=tokens.expires_in) if tokens.expires_in is not None else None
    return {
        "credentials": SecretDict({**typed, "access_token": tokens.access_token, "refresh_token": tokens.refresh_token}),
        "token_issued_at": Now(),
        "token_expires_at": ends,
        "refresh_owner": "",
        "refresh_lease_until": None,
        "refresh_not_before": None,
    }


def read(connection_id: int) -> Held:
    """The token as it stands in the database now."""
    row = (
        Connection.objects.filter(pk=connection_id)
        .annotate(left=_span(F("token_expires_at") - Now()), life=_span(F("token_expires_at") - F("token_issued_at")))
        .annotate(pause=_span(F("refresh_not_before") - Now()))
        .values("token_version", "credentials", "left", "life", "pause", "state", "state_reason")
        .first()
    )
    if row is None:
        raise ConfigError("This connection was deleted. Choose another one.")
    credentials: Any = row["credentials"] or {}
    left, life = row["left"], row["life"]
    return Held(
        version=row["token_version"],
        access=credentials.get("access_token", ""),
        credentials=credentials,
        good_until=time.monotonic() + left.total_seconds() if left is not None else float("inf"),
        margin=min(MARGIN, life.total_seconds() / 10) if life is not None else MARGIN,
        state=row["state"],
        reason=row["state_reason"],
        pause=row["pause"].total_seconds() if row["pause"] else 0.0,
    )


def mark(connection_id: int, state: ConnectionState, reason: str, *, token_version: int | None = None) -> bool:
    """Sets a state with its sentence and tells it once: a connection in that state already keeps its first sentence,
    only wrong settings change theirs, because a person corrects them one by one.

    `token_version`: only while the credentials are still the ones this is about.
    """
    same = Q(state=state, state_reason=reason) if state == ConnectionState.SETTINGS else Q(state=state)
    rows = Connection.objects.filter(pk=connection_id).exclude(same)
    if token_version is not None:
        rows = rows.filter(token_version=token_version)
    changed = rows.update(state=state, state_reason=reason, modified=Now()) == 1
    if changed:
        log.warning("Connection %s: %s. %s", connection_id, state.label, reason)
    return changed


def _span(expression: Any) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(expression, output_field=DurationField())


@contextmanager
def own_database_connection() -> Iterator[None]:
    """Closes the thread's database connection afterwards if it was opened here: a thread of an HTTP pool has no request's end."""
    opened_here = database.connection is None
    try:
        yield
    finally:
        if opened_here and not database.in_atomic_block:
            database.close()
