"""Set-up shared by every test: a database, parts of the machine, and an account of what was left out.

A test that needs a part which is not on every machine takes a fixture (`chromium`, `reference`) or skips with a reason
of the form `part: how to get it`. The last lines of a run list them; with CI=true such a skip is a failure, except for
the parts in ALLOWED_IN_CI, and of the checks that a conformance target excuses itself from, with its reason.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from syncline.localdb import LocalDatabase

    from tests.services.kafka.service import Kafka, Session

ROOT = Path(__file__).parent
sys.path += [path for path in (str(ROOT),) if path not in sys.path]  # for `tests.…`, when it is a bare `pytest`
os.environ.setdefault("SYNCLINE_STATE", str(ROOT / ".syncline"))
os.environ.setdefault("SYNCLINE_BUDGETS", "off")  # sandboxes answer as fast as they can; tests about budgets switch them on
os.environ.setdefault("SYNCLINE_TEST_ID", str(os.getpid()))  # xdist workers inherit it: one name per session

# For platform/tests pytest would put a module made of our folder in the place of the standard library's `platform`, unless
# that one looks like a package which contains them.
platform.__path__ = [str(ROOT / "platform")]

# Machines differ too much in speed for a limit per example.
hypothesis.settings.register_profile("syncline", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("syncline")

# Parts that a checkout cannot bring along.
ALLOWED_IN_CI = frozenset({"reference", "docker"})

_held = contextlib.ExitStack()
_left_out: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    """Names this session's test database and, in the controlling process, holds the local server."""
    from django.conf import settings
    from django.db import connections
    from syncline.localdb import TEST_PREFIX, LocalDatabase

    known = connections["default"].settings_dict
    known["TEST"]["NAME"] = TEST_PREFIX + os.environ["SYNCLINE_TEST_ID"]
    settings.SYNCLINE_BUDGETS = False  # read before this file
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the usual one takes 0.3 s on purpose
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing
    server = None if "DATABASE_URL" in os.environ else LocalDatabase(settings.STATE_DIR / "tests")
    if server:
        known["HOST"] = str(server.socket_dir)
    if not hasattr(config, "workerinput"):
        _held.callback(_broker().clear)
        if server:
            _held.enter_context(server.used())
            _let_forget(server)
    _held.enter_context(_broker().joined())


def _let_forget(server: LocalDatabase) -> None:
    """What tests write need not survive a failure of the machine: killed processes and servers do not notice the difference."""
    from syncline.localdb import admin_connection

    with admin_connection(server.url("postgres")) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


def pytest_unconfigure() -> None:
    _held.close()


def _broker() -> Session:
    from tests.services.kafka.service import Session

    return Session(os.environ["SYNCLINE_TEST_ID"])


FIRST = ("long", "faults", "browser")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take longest come first: at the end no process is left alone with one of them."""
    ranks: dict[Path, int] = {}
    for item in items:
        rank = next((n for n, marker in enumerate(FIRST) if item.get_closest_marker(marker)), len(FIRST))
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: (ranks[item.path], item.path.parent != ROOT / "tests"))


@pytest.fixture(scope="session", autouse=True)
def addresses() -> None:
    """The host's addresses are made once for each process, from the apps then installed: before a test replaces them."""
    importlib.import_module("syncline_host.urls")


@pytest.fixture(scope="module", autouse=True)
def _left_clean(django_db_blocker: Any) -> Generator[None]:
    """A file that leaves committed rows fails itself, and not whichever comes next in its process."""
    yield
    from django.contrib.auth.models import User
    from django.db import connection
    from syncline.localdb import TEST_PREFIX

    if not str(connection.settings_dict["NAME"]).startswith(TEST_PREFIX):
        return  # no test of this process has used the database yet
    with django_db_blocker.unblock():
        left = list(User.objects.values_list("username", flat=True)[:5])
    assert not left, f"The tests of this file leave rows behind for those of the next one, such as the users {left}."


@pytest.fixture
def database_url(db: None) -> str:
    """The address of this session's test database, for processes a test starts (they see committed rows only)."""
    from django.db import connection
    from psycopg.conninfo import make_conninfo

    known = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return make_conninfo(**{names[key]: known[key] for key in names if known[key]})


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, filter(None, names))), None)
    return found or pytest.skip("chromium: apt-get install chromium, or set CHROMIUM to the path of one")


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    """A Kafka broker, one for the whole session: topics are to have names of their own. `tests/services/kafka` says which."""
    return _broker().kafka()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of published API specifications and recordings, which stands beside the checkout."""
    folder = ROOT.parent / "shared" / "reference"
    return folder if folder.is_dir() else pytest.skip(f"reference: put the published specifications into {folder}")


def part_missing(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """The reason of a skip that is no expected failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def _forbid_in_ci(report: pytest.TestReport | pytest.CollectReport, excused: Collection[str] = ()) -> None:
    reason = part_missing(report)
    if reason and os.environ.get("CI") == "true" and reason.partition(":")[0] not in {*ALLOWED_IN_CI, *excused}:
        report.outcome = "failed"
        report.longrepr = f"Left out, which CI does not allow: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    target = getattr(getattr(item, "cls", None), "target", None)
    _forbid_in_ci(report, getattr(target, "skip", ()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_in_ci(report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if reason := part_missing(report):
        _left_out[reason] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if reason := part_missing(report):
        _left_out[f"{reason} (all of {report.nodeid})"] += 1


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    used = _broker().used()
    terminalreporter.section("broker")
    terminalreporter.line(used.name if used else "no test wanted one")
    terminalreporter.section("left out")
    for reason, tests in sorted(_left_out.items()):
        terminalreporter.line(f"{tests} × {reason}")
    if not _left_out:
        terminalreporter.line("nothing")
