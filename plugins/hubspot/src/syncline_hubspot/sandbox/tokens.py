"""Tokens and the scopes they carry."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from .clock import Clock, iso
from .wire import ApiError, error

_NO_CREDENTIALS = (
    "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details "
    "at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
)
_SCOPES_PAGE = "https://developers.hubspot.com/scopes"

ALL_SCOPES = tuple(
    [f"crm.objects.{name}.{act}" for name in ("companies", "contacts", "deals", "custom") for act in ("read", "write")]
    + [f"crm.schemas.{name}.{act}" for name in ("companies", "contacts", "deals", "custom") for act in ("read", "write")]
    + ["crm.objects.owners.read", "crm.import", "tickets", "oauth"]
)


@dataclass(slots=True)
class Grant:
    """What one token may do. `expires_at` None: a private token, which does not expire."""

    token: str
    portal_id: int
    scopes: frozenset[str]
    client_id: str = ""
    refresh_token: str = ""
    expires_at: float | None = None
    revoked: bool = False

    @property
    def private(self) -> bool:
        return self.expires_at is None

    @property
    def budget(self) -> str:
        """What shares one allowance: an app in an account."""
        return f"{self.portal_id}:{self.client_id or self.token}"


@dataclass(slots=True)
class Refresh:
    token: str
    portal_id: int
    scopes: frozenset[str]
    client_id: str
    revoked: bool = False


@dataclass(slots=True)
class Code:
    """An authorization code: used once, for the redirect URI it was given to."""

    portal_id: int
    scopes: frozenset[str]
    client_id: str
    redirect_uri: str
    expires_at: float
    challenge: str = ""
    used: bool = False


@dataclass(slots=True)
class Tokens:
    clock: Clock
    access: dict[str, Grant] = field(default_factory=dict)
    refresh: dict[str, Refresh] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)

    def issue_private(self, portal_id: int, scopes: tuple[str, ...] = ALL_SCOPES) -> Grant:
        token = f"pat-eu1-{secrets.token_hex(4)}-{secrets.token_hex(12)}"
        self.access[token] = Grant(token, portal_id, frozenset(scopes))
        return self.access[token]

    def issue(self, refresh: Refresh, lifetime: int) -> Grant:
        token = secrets.token_urlsafe(160)
        expires = self.clock.now() + lifetime
        grant = Grant(token, refresh.portal_id, refresh.scopes, refresh.client_id, refresh.token, expires)
        self.access[token] = grant
        return grant

    def new_refresh(self, code: Code) -> Refresh:
        token = f"eu1-{secrets.token_urlsafe(24)}"
        self.refresh[token] = Refresh(token, code.portal_id, code.scopes, code.client_id)
        return self.refresh[token]

    def revoke(self, token: str) -> bool:
        """A refresh token takes its access tokens with it; an access token goes alone."""
        refresh = self.refresh.get(token)
        if refresh:
            refresh.revoked = True
        held = [grant for grant in self.access.values() if token in (grant.token, grant.refresh_token)]
        for grant in held:
            grant.revoked = True
        return bool(refresh or held)

    def revoke_portal(self, portal_id: int) -> int:
        """As if the user had uninstalled the app."""
        held: list[Grant | Refresh] = [*self.access.values(), *self.refresh.values()]
        hit = [each for each in held if each.portal_id == portal_id]
        for each in hit:
            each.revoked = True
        return len(hit)

    def authenticate(self, header: str) -> Grant:
        scheme, _, token = header.partition(" ")
        grant = self.access.get(token.strip())
        if scheme.lower() != "bearer" or not token.strip():
            raise error(401, _NO_CREDENTIALS, "INVALID_AUTHENTICATION")
        if grant is None and not token.startswith("pat-"):
            raise self._expired(0.0)
        if grant is None or grant.revoked:
            raise error(401, _NO_CREDENTIALS, "INVALID_AUTHENTICATION")
        if grant.expires_at is not None and grant.expires_at <= self.clock.now():
            raise self._expired(grant.expires_at)
        return grant

    def _expired(self, since: float) -> ApiError:
        message = f"The OAuth token used to make this call expired {int(self.clock.now() - since)} second(s) ago."
        return error(401, message, "EXPIRED_AUTHENTICATION", context={"expire time": [iso(since)]})


def require(grant: Grant, any_of: tuple[str, ...]) -> None:
    if any_of and not grant.scopes.intersection(any_of):
        raise error(
            403,
            "This app hasn't been granted all required scopes to make this call. "
            f"Read more about required scopes here: {_SCOPES_PAGE}.",
            "MISSING_SCOPES",
            errors=[
                {
                    "message": "One or more of the following scopes are required.",
                    "context": {"requiredGranularScopes": list(any_of)},
                }
            ],
            links={"scopes": _SCOPES_PAGE},
        )
