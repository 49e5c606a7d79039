"""System checks about plugins and the background worker. Ids are documented here and nowhere reused.

syncline.W001  a connector is installed and does not work
syncline.E001  an app's hooks or datasets do not fit the contract
syncline.E002  Q_CLUSTER lets Django-Q2 start a doorbell again while it is still being answered
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
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


def doorbell_times(**_options: Any) -> list[checks.CheckMessage]:
    conf: dict[str, Any] = settings.Q_CLUSTER
    longest = (conf["queue_limit"] + conf["bulk"] + 2) * conf["timeout"]
    problems = []
    if conf["retry"] <= longest:
        problems.append(f"Q_CLUSTER['retry'] is {conf['retry']} s, but a doorbell may wait {longest} s in a cluster.")
    if conf["timeout"] <= settings.SYNCLINE_DRAIN_SECONDS:
        problems.append(f"Q_CLUSTER['timeout'] is {conf['timeout']} s, less than SYNCLINE_DRAIN_SECONDS.")
    return [checks.Error(text, hint="Keep the values of syncline_host.settings.", id="syncline.E002") for text in problems]


def register_checks() -> None:
    for check in (broken_connectors, app_hooks, doorbell_times):
        checks.register(check, "syncline")
