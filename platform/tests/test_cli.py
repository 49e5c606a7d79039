"""The command line parses and hands over; its exit codes can be relied upon."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner
from syncline import registry as plugins
from syncline.cli import main
from syncline.registry import Registry

pytestmark = pytest.mark.unit

FIXED = """
from syncline.contract import Capability, ConnectorInfo, ConnectorSpec, Sandbox, hookimpl

class Plugin(ConnectorSpec):
    @hookimpl
    def describe(self):
        return ConnectorInfo("acme", "Acme CRM", "1", ">=1", frozenset({Capability.SANDBOX}))

    @hookimpl
    def sandbox(self):
        return Sandbox(command=("python", "-c", "import sys; print('argv', sys.argv[1:])"))
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"acme_{tmp_path.name}.py").write_text(FIXED)
    return EntryPoint("acme", f"acme_{tmp_path.name}:Plugin", "syncline.connectors")


BROKEN = EntryPoint("bad", "not_there_at_all:Plugin", "syncline.connectors")


def test_connectors_are_listed(acme: EntryPoint) -> None:
    with plugins.using(Registry([acme])):
        shown = CliRunner().invoke(main, ["connectors", "--fail-level", "broken"])

    assert shown.exit_code == 0
    assert "Acme CRM" in shown.output


@pytest.mark.parametrize(("level", "code"), [("never", 0), ("broken", 1)])
def test_a_broken_connector_is_explained_and_fails_the_command_only_when_asked(level: str, code: int) -> None:
    with plugins.using(Registry([BROKEN])):
        shown = CliRunner().invoke(main, ["connectors", "--fail-level", level])

    assert shown.exit_code == code
    assert "not_there_at_all" in shown.output
    assert "Reinstall" in shown.output


def test_without_connectors_the_command_says_how_to_get_one() -> None:
    with plugins.using(Registry()):
        assert "pip install" in CliRunner().invoke(main, ["connectors"]).output


def test_a_sandbox_of_an_unknown_connector_is_refused_with_a_sentence() -> None:
    with plugins.using(Registry()):
        shown = CliRunner().invoke(main, ["sandbox", "acme"])

    assert shown.exit_code == 1
    assert "acme is not installed" in shown.output


def test_the_sandbox_is_started_on_the_port_asked_for(acme: EntryPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _program, argv: started.append(argv))

    with plugins.using(Registry([acme])):
        CliRunner().invoke(main, ["sandbox", "acme", "--port", "8123"], catch_exceptions=False)

    (argv,) = started
    assert argv[0] == sys.executable
    assert argv[-2:] == ["--port", "8123"]


def syncline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncline.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_manage_is_a_door_to_djangos_commands() -> None:
    assert syncline("manage", "version", "--no-color").stdout.startswith("5.2")


def test_a_database_that_is_not_there_is_told_in_a_sentence() -> None:
    ran = syncline("workers", DATABASE_URL="postgres://nobody@127.0.0.1:9/none")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: The database cannot be reached")
    assert "syncline db run --" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_db_run_uses_a_database_url_that_is_set_and_gives_the_exit_code_on() -> None:
    program = "import os, sys; print(os.environ['DATABASE_URL']); sys.exit(7)"

    done = syncline("db", "run", "--", sys.executable, "-c", program, DATABASE_URL="postgresql://elsewhere/x")

    assert (done.stdout.strip(), done.returncode) == ("postgresql://elsewhere/x", 7)


def test_db_run_says_which_command_it_did_not_find() -> None:
    done = syncline("db", "run", "--", "no-such-program", DATABASE_URL="postgresql://elsewhere/x")

    assert done.returncode == 1
    assert "no-such-program" in done.stderr
    assert "Traceback" not in done.stderr
