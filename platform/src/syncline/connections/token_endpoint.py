"""The vendor's OAuth token endpoint: codes, refresh tokens and signed statements in, tokens out, refusals told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from django.views.decorators.debug import sensitive_variables
from urllib3.exceptions import HTTPError

from syncline.contract import AuthError, ConfigError, Retryable

from . import grants
from .redaction import redact
from .secrets import reveal

TIMEOUT = (5.0, 15.0)
MAX_ANSWER = 256 * 1024
CLIENT_ERRORS = ("invalid_client", "unauthorized_client", "BAD_CLIENT_ID", "BAD_CLIENT_SECRET")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the endpoint gave. `expires_in`: seconds, None when the vendor did not say."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """One vendor app at one token URL. Every call is one HTTP request, never repeated: a code or token may be single-use.

    `agreed`: member of the answer → the address that the settings name; a token for another one is of no use.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    hosts: tuple[str, ...] = ()
    grant: str = grants.CODE
    agreed: Mapping[str, str] = field(default_factory=dict)

    @sensitive_variables()
    def exchange(self, code: str, redirect_uri: str, code_verifier: str) -> Tokens:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self._tokens({**form, "code_verifier": code_verifier} if code_verifier else form)

    @sensitive_variables()
    def refresh(self, refresh_token: str) -> Tokens:
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    @sensitive_variables()
    def renew(self, held: Mapping[str, str]) -> Tokens:
        """The next token by what the connection holds, without a person. ConfigError when it does not hold what it takes."""
        if sentence := grants.lack(self.grant, held):
            raise ConfigError(sentence)
        if self.grant == grants.JWT:
            return self._tokens({"grant_type": grants.JWT_TYPE, "assertion": grants.assertion(self.client_id, held)})
        if self.grant == grants.CLIENT:
            return self._tokens({"grant_type": "client_credentials"})
        return self.refresh(reveal(held["refresh_token"]))

    def revoke(self, url: str, token: str, kind: str = "refresh_token") -> None:
        """Takes a token back; raises like the others."""
        self._post(url, {"token": token, "token_type_hint": kind})

    @sensitive_variables()
    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        answer = self._post(self.url, form)
        self._refuse_other(answer)
        access = answer.get("access_token")
        if not isinstance(access, str) or not access:
            raise Retryable(f"{_path(self.url)} answered without an access token. Try again later.")
        return Tokens(access, str(answer.get("refresh_token") or ""), _seconds(answer.get("expires_in")))

    @sensitive_variables()
    def _post(self, url: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        self._check_host(url)
        status, body = self._send(url, {**form, **({} if "assertion" in form else self._client())})
        answer = _object(body)
        if 200 <= status < 300:
            return answer
        raise self._refusal(url, status, answer)

    def _client(self) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    def _refuse_other(self, answer: Mapping[str, Any]) -> None:
        for member, wanted in self.agreed.items():
            told = answer.get(member)
            if isinstance(told, str) and told and _place(told) != _place(wanted):
                raise ConfigError(f"The account is found at {told[:200]}, but the settings name {wanted}. Correct the settings.")

    @sensitive_variables()
    def _send(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            with requests.Session() as session:
                session.trust_env = False
                options = {"timeout": TIMEOUT, "allow_redirects": False, "stream": True}
                with session.post(url, data=form, headers={"Accept": "application/json"}, **options) as raw:  # type: ignore[arg-type]
                    return raw.status_code, raw.raw.read(MAX_ANSWER, decode_content=True)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Retryable(f"{urlsplit(url).hostname} did not answer a request for a token ({type(error).__name__}).") from None

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"https", "http"} or not any(fnmatch(host, pattern) for pattern in self.hosts):
            raise ConfigError(f"Tokens may not be asked of {host or 'no host'}. Allowed: {', '.join(self.hosts) or 'no host'}.")

    def _refusal(self, url: str, status: int, answer: Mapping[str, Any]) -> Exception:
        where = f"{_path(url)} answered {status}"
        if status >= 500 or status in {408, 423, 429}:
            return Retryable(f"{where}. Try again later.")
        code = redact(str(answer.get("error") or answer.get("status") or ""), [self.client_secret])[:80]
        what = f"{where} ({code or 'no reason given'})"
        if code in CLIENT_ERRORS or (status == 401 and not code):
            return ConfigError(f"{what}: client id or client secret are wrong. Correct the registration.")
        said = redact(str(answer.get("error_description") or ""), [self.client_secret])[:200]
        told = f" It says: {said.rstrip('. ')}." if said and self.grant in grants.BY_ITSELF else ""
        return AuthError(f"{what}: {grants.REFUSED[self.grant]}{told}")


def _place(address: str) -> str:
    """Of an address what tells accounts apart."""
    return urlsplit(address if "//" in address else f"//{address}").netloc.lower()


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}{parts.path}"


def _object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in the answer; empty when there is none, which the status then explains."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(value: object) -> float | None:
    try:
        return max(0.0, float(str(value))) if value is not None else None
    except ValueError:
        return None
