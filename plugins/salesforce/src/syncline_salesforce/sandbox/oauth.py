"""The token endpoint: authorization code with PKCE, refresh, client credentials and JWT bearer."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .org import ORG_ID

if TYPE_CHECKING:
    from .server import Call

CLIENT = "sandbox-client"
SECRET = "sandbox-secret"  # noqa: S105 - the sandbox's own, known to everyone
USER = "integration@sandbox.example"
AUDIENCES = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
LONGEST = 300  # seconds that a statement may have to its end
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(slots=True)
class Tokens:
    access: set[str] = field(default_factory=set)
    refresh: set[str] = field(default_factory=set)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Code → redirect URI and challenge."""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    """The app holds its certificate; who connects has the key."""
    issued: int = 0

    def private_key(self) -> str:
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()

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
        _statement(tokens, asked.get("assertion", ""))
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
    tokens.issued += 1
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


def _statement(tokens: Tokens, assertion: str) -> None:
    claims = _signed(tokens, assertion)
    left = float(claims.get("exp") or 0) - time.time()
    if claims.get("iss") != CLIENT:
        raise Refused("invalid_client_id", "client identifier invalid")
    if claims.get("aud") not in AUDIENCES:
        raise Refused("invalid_grant", "audience is invalid")
    if not 0 < left <= LONGEST:
        raise Refused("invalid_grant", "assertion has expired or lasts too long")
    if claims.get("sub") != USER:
        raise Refused("invalid_grant", "user hasn't approved this consumer")


def _signed(tokens: Tokens, assertion: str) -> dict[str, Any]:
    """The claims, if the app's certificate fits the signature."""
    head, _, signature = assertion.rpartition(".")
    try:
        tokens.key.public_key().verify(_decoded(signature), head.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = orjson.loads(_decoded(head.partition(".")[2]))
    except (ValueError, InvalidSignature):
        raise Refused("invalid_grant", "invalid assertion") from None
    return claims if isinstance(claims, dict) else {}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
