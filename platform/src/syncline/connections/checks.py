"""System checks of the key ring, and the canary that belongs to each database.

syncline.E010  SYNCLINE_KEYS holds no key, or something that is not one
syncline.E011  the stored canary cannot be read with SYNCLINE_KEYS (checked with `--database default` and by migrate)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connection
from django.db.models.signals import post_migrate

from syncline.contract import ConfigError

from . import keyring, vault

USABLE, READABLE = "syncline.E010", "syncline.E011"
TABLE = "syncline_vaultcanary"


def install(config: AppConfig) -> None:
    """Called once by the app when it is ready."""
    register(key_ring_is_usable, Tags.security)
    register(key_ring_reads_what_is_stored, Tags.database)
    post_migrate.connect(_plant, sender=config, dispatch_uid="syncline.vault.canary")


def key_ring_is_usable(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:  # noqa: ARG001
    """Static: there are keys, and they are keys."""
    return _as_messages(lambda: keyring.encrypt("probe"), USABLE)


def key_ring_reads_what_is_stored(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:  # noqa: ARG001
    """Reads the canary, where the tables are there already."""
    if not kwargs.get("databases") or not tables_are_there():
        return []
    return _as_messages(vault.probe, READABLE)


def tables_are_there() -> bool:
    return TABLE in connection.introspection.table_names()


def _as_messages(work: Callable[[], object], number: str) -> list[CheckMessage]:
    try:
        work()
    except ConfigError as error:
        return [Error(str(error), id=number)]
    except DatabaseError as error:
        return [Error(f"The canary of the key ring could not be read: {error}", id=number)]
    return []


def _plant(**kwargs: Any) -> None:  # noqa: ARG001 - a signal's receiver
    if tables_are_there():
        vault.plant_canary()
