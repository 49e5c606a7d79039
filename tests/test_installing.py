"""Connectors and apps come and go by installing and uninstalling their packages; no file of the host is touched.

Everything is real: packages are built and installed into a virtual environment that stands on the one the tests run in,
and the host is started anew in it each time, as a restart would.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from syncline.connections.models import Connection, ConnectionState

ROOT = Path(__file__).parent.parent
NOTES = ROOT / "docs" / "examples" / "notes"
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{package}"
version = "0.1.0"
[project.entry-points."{group}"]
{key} = "{package}.{target}"
[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""
CONNECTOR = """
from syncline.contract import ConnectorInfo, ConnectorSpec, hookimpl


class Broken(ConnectorSpec):
    @hookimpl
    def describe(self):
        return ConnectorInfo("{key}", "Broken", "0.1.0", "{contract}", frozenset())

    @hookimpl
    def {hook}(self):
        return []
"""
CONNECT = """
from django.contrib.auth.models import User
from syncline.catalog.service import refresh
from syncline.connections import service
from syncline.connections.models import Connection
owner = User.objects.create_user("ann")
row = Connection(connector="notes", name="My notes", owner=owner, settings={{"base_url": "{url}"}})
service.connect(row, "token", {{"token": "{token}"}})
refresh(row)
"""
CHECK = """
from syncline.connections import service
from syncline.connections.models import Connection
print("account:", service.check(Connection.objects.get()).name)
"""


class Installation:
    """A host in a virtual environment of its own, with everything that this one has."""

    def __init__(self, folder: Path, database_url: str) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.python = folder / "bin" / "python"
        below = sysconfig.get_path("purelib")
        site = next(folder.glob("lib/python*/site-packages"))
        (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO", "COV", "VIRTUAL_ENV"))
        }
        self.environment = {**kept, "DATABASE_URL": database_url, "SYNCLINE_ALLOW_LOOPBACK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment |= {"COLUMNS": "300", "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}

    def install(self, *packages: Path) -> None:
        self.pip("install", "--offline", "--no-deps", "--no-build-isolation", *map(str, packages))

    def pip(self, verb: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "uv", "pip", verb, "--python", str(self.python), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def syncline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command in a new process."""
        command = [str(self.python), "-m", "syncline.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def succeed(self, *arguments: str) -> str:
        done = self.syncline(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def restart(self) -> None:
        """Starts the web server, waits until it answers, and stops it."""
        with self.serving() as (address, process):
            assert answer(f"{address}/healthz", process) == {"status": "ok"}

    @contextmanager
    def serving(self) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = [str(self.python), "-m", "gunicorn", "syncline_host.wsgi", "--bind", f"fd://{listener.fileno()}"]
            options = {"env": self.environment, "stderr": subprocess.PIPE, "text": True}
            with subprocess.Popen(command, pass_fds=[listener.fileno()], **options) as process:  # type: ignore[call-overload]
                try:
                    yield f"http://127.0.0.1:{listener.getsockname()[1]}", process
                finally:
                    process.terminate()

    @contextmanager
    def sandbox(self, key: str) -> Iterator[dict[str, str]]:
        command = [str(self.python), "-m", "syncline.cli", "sandbox", key]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                told: dict[str, str] = json.loads(process.stdout.readline())
                yield told
            finally:
                process.terminate()


def answer(url: str, process: subprocess.Popen[str]) -> object:
    """What the server answers once it is up."""
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=20) as response:
                return json.load(response)
        except urllib.error.URLError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"The server does not answer: {process.stderr.read() if process.stderr else ''}")


def package(folder: Path, name: str, key: str, code: str, *, group: str = "connectors", target: str = "connector:Broken") -> Path:
    """A package of one module with one entry point."""
    source = folder / name / "src" / name
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    (source / f"{target.partition(':')[0].partition('.')[0]}.py").write_text(dedent(code))
    project = PROJECT.format(package=name, key=key, group=f"syncline.{group}", target=target)
    (folder / name / "pyproject.toml").write_text(project)
    return folder / name


@pytest.fixture
def host(tmp_path: Path, database_url: str, transactional_db: None) -> Installation:
    return Installation(tmp_path / "host", database_url)


def row_of(text: str, key: str) -> str:
    """The words of one line of the table."""
    return next((" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [key]), "")


def test_an_installed_connector_is_there_uninstalled_its_connections_are_parked_and_come_back(host: Installation) -> None:
    assert row_of(host.succeed("connectors"), "notes") == ""

    host.install(NOTES)

    assert row_of(host.succeed("connectors"), "notes") == "notes Notes syncline-notes 0.1.0 loaded"
    with host.sandbox("notes") as told:
        host.succeed("manage", "shell", "-v", "0", "-c", CONNECT.format(**told))
        before = stored()
        assert before["state"] == ConnectionState.OK

        host.pip("uninstall", "syncline-notes")
        host.restart()

        parked = stored()
        assert parked["state"] == ConnectionState.MISSING
        assert "notes is not installed. Install its package and restart." in str(parked["state_reason"])
        assert {name: parked[name] for name in KEPT} == {name: before[name] for name in KEPT}
        assert "not installed" in host.syncline("manage", "shell", "-v", "0", "-c", CHECK).stderr

        host.install(NOTES)
        host.restart()

        assert {name: value for name, value in stored().items() if name != "modified"} == {
            name: value for name, value in before.items() if name != "modified"
        }
        assert host.succeed("manage", "shell", "-v", "0", "-c", CHECK).startswith("account: ")


KEPT = ("connector", "name", "settings", "credentials", "auth_method", "account_id", "owner_id", "offers")


def stored() -> dict[str, object]:
    """The connection as its row has it, the credentials still encrypted."""
    from django.db import connection

    row = Connection.objects.get()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {Connection._meta.db_table} WHERE id = %s", [row.pk])
        columns = [column.name for column in cursor.description]
        values: dict[str, object] = dict(zip(columns, cursor.fetchone(), strict=True))
    return {**values, "offers": sorted(row.objects_offered.values_list("key", "gone_at"))}


def test_broken_connectors_are_listed_with_reason_and_next_step_and_the_host_starts(host: Installation, tmp_path: Path) -> None:
    good = {"key": "misspelt", "contract": ">=1,<2", "hook": "auth_methods"}
    host.install(
        package(tmp_path, "unimportable", "unimportable", "import a_requirement_that_is_missing"),
        package(tmp_path, "misspelt", "misspelt", CONNECTOR.format(**{**good, "hook": "discovr"})),
        package(tmp_path, "second_hubspot", "hubspot", CONNECTOR.format(**{**good, "key": "hubspot"})),
        package(tmp_path, "futuristic", "futuristic", CONNECTOR.format(**{**good, "key": "futuristic", "contract": ">=99"})),
    )

    listed = host.succeed("connectors")
    explained = " ".join(listed.split())
    for reason_and_step in (
        "unimportable: unimportable.connector:Broken could not be imported: ModuleNotFoundError: "
        "No module named 'a_requirement_that_is_missing' Reinstall the package with its requirements, or uninstall it",
        "misspelt: Its hooks do not fit the contract: unknown hook 'discovr' in plugin",
        "hubspot: The key hubspot is offered 2 times: by second_hubspot, syncline-hubspot. Uninstall all but one of them",
        "futuristic: It needs the contract >=99; this host has 1.0. Install a version of the connector made for this host",
    ):
        assert reason_and_step in explained
    assert {line.split()[0] for line in listed.splitlines() if line.rstrip().endswith(" broken")} == {
        "unimportable",
        "misspelt",
        "hubspot",
        "futuristic",
    }
    assert host.syncline("connectors", "--fail-level", "broken").returncode == 1
    checked = host.syncline("manage", "check")
    assert checked.returncode == 0
    assert checked.stderr.count("syncline.W001") == 5  # hubspot has two owners
    host.restart()


def test_an_app_that_does_not_import_stops_the_host_with_its_name(host: Installation, tmp_path: Path) -> None:
    code = "import a_requirement_that_is_missing"
    host.install(package(tmp_path, "halfdone_app", "halfdone", code, group="apps", target="apps.HalfdoneConfig"))

    for command in (["manage", "check"], ["worker"]):
        stopped = host.syncline(*command)
        assert stopped.returncode != 0
        assert "halfdone_app" in stopped.stderr
        assert "a_requirement_that_is_missing" in stopped.stderr
    with host.serving() as (_address, process):
        assert process.wait(30) != 0
        assert process.stderr
        assert "halfdone_app" in process.stderr.read()

    host.pip("uninstall", "halfdone_app")
    host.restart()
