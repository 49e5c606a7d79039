"""System checks about plugins. Ids are documented here and nowhere reused.

syncline.W001  a connector is installed and does not work
syncline.E001  an app's hooks or datasets do not fit the contract
"""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from .current import registry


def broken_connectors(**_options: Any) -> list[checks.CheckMessage]:
    """A warning, not an error: the host starts without the connector."""
    return [
        checks.Warning(
            f"The connector {one.key} ({one.distribution} {one.version}) does not work: {one.reason}",
            hint=one.next_step,
            id="syncline.W001",
        )
        for one in registry().broken
    ]


def app_hooks(**_options: Any) -> list[checks.CheckMessage]:
    try:
        registry().datasets  # noqa: B018 - reading them is the check
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), hint="Correct the app, or uninstall it.", id="syncline.E001")]
    return []


def register_checks() -> None:
    for check in (broken_connectors, app_hooks):
        checks.register(check, "syncline")
