"""What a connection works with: its connector, its settings over the registration's over the defaults, the hosts it may call."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings

from syncline import registry
from syncline.contract import AuthMethod, ConfigError, ConnectorFault, ConnectorInfo
from syncline.registry import Connector

from . import schema
from .models import Connection, ConnectorState

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_BRACES = re.compile(r"\{(\w+)\}")


class ConnectorMissing(ConfigError):
    """The connector of this connection is not there. Install or enable it, and the connection comes back by itself."""


def connector_of(connection: Connection) -> Connector:
    """The loaded and enabled connector; ConnectorMissing with the reason otherwise."""
    key = connection.connector
    try:
        found = registry.connector(key)
    except ConfigError as error:
        raise ConnectorMissing(str(error)) from error
    if ConnectorState.objects.filter(key=key, enabled=False).exists():
        raise ConnectorMissing(f"The connector {key} is switched off. Enable it on the connectors page.")
    return found


def settings_of(connection: Connection, info: ConnectorInfo) -> dict[str, Any]:
    """Merged settings that fit the connector's schema; ConfigError with one sentence per field otherwise."""
    if secret := schema.secret_names(info.settings_schema):
        raise ConnectorFault(
            f"{info.key} asks for secrets among its settings ({', '.join(secret)}), which are not encrypted. "
            "Its author must ask for them in auth_methods."
        )
    given = connection.registration.settings if connection.registration else {}
    merged = {**schema.defaults(info.settings_schema), **given, **connection.settings}
    if wrong := schema.problems(info.settings_schema, merged):
        raise ConfigError(
            f"The settings of {connection.name} do not fit: {' '.join(wrong.values())} Change them and check again."
        )
    return merged


def method_of(connection: Connection, connector: Connector, key: str = "") -> AuthMethod:
    """The way the connection signs in, or the one asked for; the connector's preferred one when neither says."""
    wanted, methods = key or connection.auth_method, connector.call.auth_methods()
    for method in methods:
        if method.key == wanted or not wanted:
            return method
    offered = ", ".join(method.key for method in methods) or "none"
    raise ConfigError(f"{connector.title} has no way to sign in called {wanted!r}. Choose one of: {offered}.")


def hosts_of(info: ConnectorInfo) -> tuple[str, ...]:
    return info.hosts + LOOPBACK if loopback_allowed() else info.hosts


def loopback_allowed() -> bool:
    """Whether connectors may call this machine (sandboxes): SYNCLINE_ALLOW_LOOPBACK, by default on with DEBUG."""
    if (given := getattr(django_settings, "SYNCLINE_ALLOW_LOOPBACK", None)) is not None:
        return bool(given)
    return django_settings.DEBUG or os.environ.get("SYNCLINE_ALLOW_LOOPBACK") == "1"


def address(template: str, settings: Mapping[str, Any]) -> str:
    """A URL of the connector with `{name}` replaced by that setting."""
    return _BRACES.sub(lambda found: str(settings.get(found[1], "")), template)
