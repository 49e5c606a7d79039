"""Programs sign in with `Authorization: Api-Key slk_…`, or `X-Api-Key: slk_…`."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from syncline.connections import api_keys
from syncline.connections.api_keys import ApiKey
from syncline.inbox.remembered import Remembered

SCHEME: Final = "api-key "
REMEMBERED: Final = 1.0  # seconds

#: By digest, so that no key is kept in memory. What is revoked, or taken from the user, holds no more after that time.
_known: Final = Remembered[ApiKey](REMEMBERED)


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request | HttpRequest) -> tuple[Any, ApiKey] | None:
        text = _given(request)
        if not text:
            return None
        key = _known.get(api_keys.digest(text), lambda: api_keys.find(text))
        if key is None or not key.holds:
            raise exceptions.AuthenticationFailed(
                "This API key does not hold: it is unknown, revoked or expired, or its user left. Ask an administrator for one."
            )
        if key.read_only and request.method not in SAFE_METHODS:
            raise exceptions.PermissionDenied("This API key may only read. Ask an administrator for one that may write.")
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Api-Key"


def forget() -> None:
    _known.forget()


def _given(request: Request | HttpRequest) -> str:
    proof = str(request.META.get("HTTP_AUTHORIZATION", ""))
    if proof[: len(SCHEME)].lower() == SCHEME:
        return proof[len(SCHEME) :].strip()
    return str(request.META.get("HTTP_X_API_KEY", "")).strip()


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "Or `Authorization: Api-Key slk_…`."}
