"""Set-up shared by every test: a database, a place for generated files, and an account of what was left out."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
os.environ.setdefault("SYNCLINE_STATE", str(ROOT / ".syncline"))
os.environ.setdefault("SYNCLINE_TEST_ID", str(os.getpid()))  # xdist workers inherit it: one name per session

# For platform/tests pytest would put a module made of our folder in the place of the standard library's `platform`, unless
# that one looks like a package which contains them.
platform.__path__ = [str(ROOT / "platform")]

_held = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Names this session's test database and, in the controlling process, holds the local server."""
    from django.conf import settings
    from django.db import connections
    from syncline.localdb import TEST_PREFIX, LocalDatabase

    connections["default"].settings_dict["TEST"]["NAME"] = TEST_PREFIX + os.environ["SYNCLINE_TEST_ID"]
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing
    if not hasattr(config, "workerinput") and "DATABASE_URL" not in os.environ:
        _held.enter_context(LocalDatabase(settings.STATE_DIR).used())


def pytest_unconfigure() -> None:
    _held.close()


@pytest.fixture
def database_url(db: None) -> str:
    """The address of this session's test database, for processes a test starts (they see committed rows only)."""
    from django.db import connection
    from psycopg.conninfo import make_conninfo

    known = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return make_conninfo(**{names[key]: known[key] for key in names if known[key]})
