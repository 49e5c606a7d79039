"""The token endpoint: authorization code with PKCE, refresh, client credentials and JWT bearer (whose signature is not read)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import orjson

from .org import ORG_ID

if TYPE_CHECKING:
    from .server import Call

CLIENT = "sandbox-client"
SECRET = "sandbox-secret"  # noqa: S105 - the sandbox's own, known to everyone
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(slots=True)
class Tokens:
    access: set[str] = field(default_factory=set)
    refresh: set[str] = field(default_factory=set)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Code → redirect URI and challenge."""

    def issue(self) -> str:
        token = f"00D!{secrets.token_urlsafe(24)}"
        self.access.add(token)
        return token


class Refused(Exception):
    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.body = {"error": error, "error_description": description}


def authorize(call: Call) -> str:
    """Where the browser goes next: the person has agreed."""
    asked = call.query
    code = secrets.token_urlsafe(16)
    call.server.tokens.codes[code] = (asked.get("redirect_uri", ""), asked.get("code_challenge", ""))
    return f"{asked.get('redirect_uri', '')}?{urlencode({'code': code, 'state': asked.get('state', '')})}"


def token(call: Call) -> dict[str, str]:
    """Without `expires_in`: Salesforce does not say when a token ends."""
    asked = dict(parse_qsl(call.raw.decode()))
    tokens, kind = call.server.tokens, asked.get("grant_type", "")
    told = {"instance_url": call.base, "id": f"{call.base}/id/{ORG_ID}", "token_type": "Bearer", "scope": "api refresh_token"}
    if kind == JWT:
        _claims(asked.get("assertion", ""))
    elif (asked.get("client_id"), asked.get("client_secret")) != (CLIENT, SECRET):
        raise Refused("invalid_client", "invalid client credentials")
    elif kind == "authorization_code":
        _code(tokens, asked)
        refresh = secrets.token_urlsafe(24)
        tokens.refresh.add(refresh)
        told["refresh_token"] = refresh
    elif kind == "refresh_token":
        if asked.get("refresh_token") not in tokens.refresh:
            raise Refused("invalid_grant", "expired access/refresh token")
    elif kind != "client_credentials":
        raise Refused("unsupported_grant_type", "grant type not supported")
    return {"access_token": tokens.issue(), **told}


def revoke(call: Call) -> None:
    given = dict(parse_qsl(call.raw.decode())).get("token", "")
    call.server.tokens.access.discard(given)
    call.server.tokens.refresh.discard(given)


def _code(tokens: Tokens, asked: dict[str, str]) -> None:
    uri, challenge = tokens.codes.pop(asked.get("code", ""), ("", ""))
    if not uri or uri != asked.get("redirect_uri"):
        raise Refused("invalid_grant", "expired authorization code")
    digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
    if challenge and challenge != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
        raise Refused("invalid_grant", "invalid code verifier")


def _claims(assertion: str) -> None:
    try:
        part = assertion.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        raise Refused("invalid_grant", "invalid assertion") from None
    if claims.get("iss") != CLIENT:
        raise Refused("invalid_client_id", "client identifier invalid")
