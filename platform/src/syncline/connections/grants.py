"""How OAuth connections get a token without a person: by a refresh token, as the app itself, or by a signed statement."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from syncline.contract import ConfigError

from .secrets import reveal

CODE: Final = "authorization_code"
CLIENT: Final = "client_credentials"
JWT: Final = "jwt_bearer"
BY_ITSELF: Final = frozenset({CLIENT, JWT})
#: What comes from the vendor; the rest of a connection's credentials was typed.
TOKENS: Final = frozenset({"access_token", "refresh_token"})
JWT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LASTS: Final = 180  # seconds a statement is good for; vendors take three to five minutes

_LACKING: Final = {
    CODE: (("refresh_token",), "The account's token ran out and there is no refresh token. Reconnect it."),
    CLIENT: ((), ""),
    JWT: (("username", "private_key", "audience"), "There is no private key and user name to sign in with. Enter them."),
}
REFUSED: Final = {
    CODE: "the account took back its permission, or it ran out. Reconnect it.",
    CLIENT: "the account does not let the app in by itself. Allow the client credentials flow there and name whom it acts as.",
    JWT: (
        "the account does not accept what was signed. Check the user name, the audience, that the app holds this key's "
        "certificate, and that the user is admitted to it."
    ),
}


def lack(grant: str, held: Mapping[str, str]) -> str:
    """Why no token can be got with these credentials, as a sentence; "" when one can."""
    names, sentence = _LACKING[grant]
    return "" if all(held.get(name) for name in names) else sentence


def typed(held: Mapping[str, str] | None) -> dict[str, str]:
    """What a person typed, without the tokens got by it."""
    return {name: value for name, value in (held or {}).items() if name not in TOKENS}


@sensitive_variables()
def assertion(client_id: str, held: Mapping[str, str]) -> str:
    """The signed statement: this app acts as that user, for the next minutes."""
    now = int(time.time())
    claims = {"iss": client_id, "sub": reveal(held["username"]), "aud": reveal(held["audience"]), "iat": now, "exp": now + LASTS}
    try:
        return jwt.encode({"alg": "RS256"}, claims, RSAKey.import_key(reveal(held["private_key"])))
    except (ValueError, TypeError, JoseError) as error:
        raise ConfigError(
            f"The private key cannot be used to sign ({type(error).__name__}). Enter an RSA key in PEM form, "
            "with its lines “-----BEGIN PRIVATE KEY-----” and “-----END PRIVATE KEY-----”, and without a password."
        ) from None
