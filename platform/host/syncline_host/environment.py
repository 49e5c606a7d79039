"""What the host reads from its environment and its state directory. Starts nothing and opens no connection."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict
from syncline.contract import ConfigError
from syncline.localdb import LocalDatabase

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
DATABASE_KEYS = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def state_dir() -> Path:
    """The folder of everything a development machine generates: database, keys, collected static files."""
    return Path(os.environ.get("SYNCLINE_STATE") or Path.cwd() / ".syncline").resolve()


def words(variable: str) -> list[str]:
    return [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]


def database(state: Path) -> dict[str, Any]:
    """Django's database entry for DATABASE_URL, or for the local server of the state directory."""
    url = os.environ.get("DATABASE_URL") or LocalDatabase(state).url()
    given = conninfo_to_dict(url)
    options = {key: value for key, value in given.items() if key not in DATABASE_KEYS}
    entry: dict[str, Any] = {DATABASE_KEYS[key]: value for key, value in given.items() if key in DATABASE_KEYS}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **entry,
        "OPTIONS": options,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def count(variable: str, usual: int, command: str) -> int:
    """A number above 0 that a person gave to `command`."""
    written = os.environ.get(variable, "").strip()
    if written and (not written.isdecimal() or int(written) == 0):
        raise ConfigError(f"{variable} is {written!r}, not a whole number above 0. Give one, e.g. {variable}=500 {command}.")
    return int(written or usual)


def secret(variable: str, state: Path, make: Callable[[], str]) -> str:
    """The secret from the environment; on a host that answers to loopback only, one kept in the state directory."""
    if value := os.environ.get(variable):
        return value
    if words("ALLOWED_HOSTS"):
        raise ImproperlyConfigured(
            f"{variable} is not set. A host with ALLOWED_HOSTS serves others than this machine and must bring its own "
            f"secrets; generate one and put it into the environment (README, 'In production')."
        )
    return kept(state / variable.lower(), make)


def kept(path: Path, make: Callable[[], str]) -> str:
    """Made once; when two processes start together, the first to link its file in wins and both read that."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(make())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def new_secret_key() -> str:
    return secrets.token_urlsafe(64)


def new_credential_key() -> str:
    return Fernet.generate_key().decode()


def installed_apps() -> list[str]:
    """AppConfigs of the installed business apps, as strings: nothing of theirs is imported here.

    An app that does not import stops the host with its name, which is Django's own behaviour.
    """
    found = entry_points(group="syncline.apps")
    return [entry.value.replace(":", ".") for entry in sorted(found, key=lambda entry: entry.name)]
