"""Ways to sign in: by a person's log-in, as the app itself, by a signed statement, or with a token from elsewhere."""

from __future__ import annotations

from typing import Any, Final

from syncline.contract import AuthMethod

TOKEN_URL: Final = "{instance_url}/services/oauth2/token"  # noqa: S105 - an address
REVOKE_URL: Final = "{instance_url}/services/oauth2/revoke"
#: Salesforce names the account's address beside each token.
AGREES: Final = {"instance_url": "instance_url"}
TOKEN: Final = {
    "type": "object",
    "properties": {"token": {"type": "string", "title": "Access token", "minLength": 1, "writeOnly": True}},
    "required": ["token"],
    "additionalProperties": False,
}
STATEMENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "username": {
            "type": "string",
            "title": "User name",
            "description": "Of the user as whom Syncline acts. The app must admit it.",
            "minLength": 1,
        },
        "audience": {
            "type": "string",
            "title": "Audience",
            "description": "https://test.salesforce.com for a sandbox of yours.",
            "enum": ["https://login.salesforce.com", "https://test.salesforce.com"],
            "default": "https://login.salesforce.com",
        },
        "private_key": {
            "type": "string",
            "title": "Private key",
            "description": "PEM, RSA, without a password. The app holds its certificate.",
            "contentMediaType": "application/x-pem-file",
            "minLength": 1,
            "writeOnly": True,
        },
    },
    "required": ["username", "audience", "private_key"],
    "additionalProperties": False,
}


def methods() -> list[AuthMethod]:
    person = AuthMethod(
        key="oauth",
        title="Log in at Salesforce",
        kind="oauth2",
        authorize_url="{instance_url}/services/oauth2/authorize",
        token_url=TOKEN_URL,
        revoke_url=REVOKE_URL,
        scopes=("api", "refresh_token"),
        agrees=AGREES,
    )
    app = AuthMethod(
        key="client_credentials",
        title="Client credentials, nobody logs in",
        kind="oauth2",
        token_url=TOKEN_URL,
        revoke_url=REVOKE_URL,
        grant="client_credentials",
        agrees=AGREES,
    )
    statement = AuthMethod(
        key="jwt",
        title="JWT bearer, nobody logs in",
        kind="oauth2",
        schema=STATEMENT,
        token_url=TOKEN_URL,
        revoke_url=REVOKE_URL,
        grant="jwt_bearer",
        agrees=AGREES,
    )
    return [person, app, statement, AuthMethod(key="token", title="Access token, while it lasts", kind="token", schema=TOKEN)]
