"""Connecting by OAuth 2: the authorization code flow with a single-use state, PKCE and the exact redirect URI.

`authorization_url` begins an attempt for one person in one browser session; `finish` ends it there, within ten minutes,
once. Nothing secret is in the URL but the state, of which only a digest is stored.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models.functions import Now

from syncline.contract import AuthError, AuthMethod, ConfigError

from . import access, effective, service
from .models import Connection, OAuthState, Registration
from .secrets import reveal
from .sessions import Prepared, prepare, token_endpoint
from .token_endpoint import Tokens

TTL = dt.timedelta(minutes=10)
CALLBACK = "/oauth/callback/"
AGAIN = "Start connecting again from the connection's page."


class OAuthRefused(AuthError):
    """The sign-in could not be finished. Start connecting again from the connection's page."""


def redirect_uri(registration: Registration) -> str:
    """What the vendor's app must list, character by character."""
    return registration.redirect_uri or settings.SYNCLINE_PUBLIC_URL + CALLBACK


def authorization_url(connection: Connection, user: User, session_key: str, method: str = "") -> str:
    """The vendor's page to send this person to. ConfigError when the connection or its registration is not ready."""
    _may_connect(connection, user)
    if not session_key:
        raise OAuthRefused("There is no browser session to come back to. Log in first.")
    ready = prepare(connection, chosen(connection, method).key)
    endpoint, registration = token_endpoint(ready), _registration(ready)
    state, verifier = generate_token(48), generate_token(64) if ready.method.pkce else ""
    target = redirect_uri(registration)
    _begin(ready, user, session_key, state, verifier, target)
    challenge = {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"} if verifier else {}
    page = effective.address(ready.method.authorize_url, ready.settings)
    return str(
        prepare_grant_uri(
            page, endpoint.client_id, "code", redirect_uri=target, scope=" ".join(ready.method.scopes), state=state, **challenge
        )
    )


def finish(query: Mapping[str, str], user: User, session_key: str) -> Connection:
    """Turns the vendor's answer into stored, checked tokens. OAuthRefused and the contract's errors carry a sentence."""
    attempt = _take(query.get("state", ""), user, session_key)
    connection = attempt.connection
    if refusal := query.get("error"):
        raise OAuthRefused(f"The account did not give its permission ({_word(refusal)}). {AGAIN}")
    if not query.get("code"):
        raise OAuthRefused(f"The vendor came back without a code. {AGAIN}")
    _may_connect(connection, user)
    service.save_tokens(connection, attempt.auth_method, _exchange(attempt, query["code"]))
    return connection


def sign_in(connection: Connection, user: User, method: str) -> None:
    """Connects without a person at the vendor's page, where the method allows that."""
    _may_connect(connection, user)
    service.sign_in(connection, method)


def _may_connect(connection: Connection, user: User) -> None:
    if not access.may_change(user, connection):
        raise OAuthRefused(f"Only its owner may connect {connection.name}. Ask {connection.owner}, or a superuser.")


def forget_old(age: dt.timedelta = dt.timedelta(days=1)) -> int:
    """Deletes attempts that ended long ago; gives how many."""
    return OAuthState.objects.filter(created__lt=Now() - age).delete()[0]


def chosen(connection: Connection, method: str = "") -> AuthMethod:
    """The OAuth method asked for, else the one the connection uses, else the connector's first one."""
    methods: list[AuthMethod] = list(effective.connector_of(connection).call.auth_methods())
    offered = {one.key: one for one in methods if one.kind == "oauth2"}
    if not offered or (method and method not in offered):
        raise ConfigError(f"{connection.connector} does not connect by OAuth in this way. Choose another way to sign in.")
    return offered.get(method or connection.auth_method) or next(iter(offered.values()))


def _registration(ready: Prepared) -> Registration:
    registration = ready.connection.registration
    if registration is None:
        raise ConfigError(f"{ready.connection.name} has no registration. Choose one.")
    return registration


def _begin(ready: Prepared, user: User, session_key: str, state: str, verifier: str, target: str) -> None:
    forget_old()
    OAuthState.objects.create(
        digest=_digest(state),
        connection=ready.connection,
        user=user,
        session_digest=_digest(session_key),
        auth_method=ready.method.key,
        code_verifier=verifier,
        redirect_uri=target,
    )


def _take(state: str, user: User, session_key: str) -> OAuthState:
    """Uses up the attempt in one UPDATE, so that two callbacks with one state cannot both pass."""
    if not state:
        raise OAuthRefused(f"The answer has no state. {AGAIN}")
    mine = OAuthState.objects.filter(digest=_digest(state))
    attempt = mine.select_related("connection__registration", "connection__owner").first()
    if attempt is None:
        raise OAuthRefused(f"This sign-in was not begun here. {AGAIN}")
    if attempt.user_id != user.pk or not hmac.compare_digest(attempt.session_digest, _digest(session_key)):
        raise OAuthRefused(f"This sign-in was begun by another person or in another browser session. {AGAIN}")
    if mine.filter(used_at=None, created__gt=Now() - TTL).update(used_at=Now()) != 1:
        raise OAuthRefused(f"This sign-in was already used, or begun more than {TTL.seconds // 60} minutes ago. {AGAIN}")
    return attempt


def _exchange(attempt: OAuthState, code: str) -> Tokens:
    endpoint = token_endpoint(prepare(attempt.connection, attempt.auth_method))
    try:
        return endpoint.exchange(code, attempt.redirect_uri, reveal(attempt.code_verifier))
    except AuthError as error:
        raise OAuthRefused(f"The vendor did not accept its own code: {error} {AGAIN}") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _word(text: str) -> str:
    """An error code from a URL, which anybody can write: only what a code may hold."""
    return "".join(letter for letter in text[:60] if letter.isalnum() or letter in "_-") or "no reason given"
