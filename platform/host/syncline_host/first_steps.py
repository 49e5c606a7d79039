"""What `make up` lays ready, so that the first thing a person does is connect: some data, and a way to the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands
from syncline.connections.models import Connection, Registration
from syncline.registry import Connector


def fill_register(companies: int = 200) -> None:
    """Some made-up companies where the app is installed and has none."""
    offered = "populate_database" in get_commands() and "companies" in apps.app_configs
    if offered and not apps.get_model("companies", "Company").objects.exists():
        call_command("populate_database", companies=companies, verbosity=0)


def offer_sandbox(connector: Connector, told: Mapping[str, str], username: str) -> None:
    """A registration and a connection that lead to the sandbox started now; its address changes with every start."""
    settings = {name: value.format(**told) for name, value in connector.call.sandbox().settings.items()}
    registration, name = None, f"{connector.title} sandbox"
    if "client_id" in told:
        registration, _ = Registration.objects.update_or_create(
            connector=connector.key,
            name=name,
            defaults={"client_id": told["client_id"], "client_secret": told.get("client_secret", ""), "settings": settings},
        )
    owner = User.objects.get(username=username)
    values: dict[str, Any] = {"settings": {}, "registration": registration} if registration else {"settings": settings}
    first = connector.call.auth_methods()[0]
    if first.kind == "none":
        values |= {"auth_method": first.key}
    Connection.objects.update_or_create(
        connector=connector.key, name=name, defaults=values, create_defaults={**values, "owner": owner}
    )
