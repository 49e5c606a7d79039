"""The containers: what they are started with is what is tested here, their files can be read, and nothing secret is in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from syncline.cli import main

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMMAND = re.compile(r'^    command: \[("syncline".*)\]$', re.MULTILINE)
GIVEN = {"POSTGRES_PASSWORD": "x", "SECRET_KEY": "x", "SYNCLINE_KEYS": "x", "SYNCLINE_HOST": "sync.example.com"}


@cache
def client() -> list[str]:
    """Compose as a plugin of Docker, or by itself; neither needs an engine to read a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
            return command
    return []


def commands() -> list[list[str]]:
    return [re.findall(r'"([^"]*)"', found) for found in COMMAND.findall(COMPOSE)]


@pytest.mark.skipif(not client(), reason="Docker's compose is not installed")
def test_compose_reads_the_file_with_the_profile_of_the_simulator(tmp_path: Path) -> None:
    env = {**os.environ, **GIVEN}
    argv = [*client(), "-f", str(ROOT / "docker-compose.yml"), "--profile", "simulator", "config"]
    found = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
    assert found.returncode == 0, found.stderr
    for service in ("web", "worker", "stream", "simulator"):
        assert f"\n  {service}:\n" in found.stdout


@pytest.mark.skipif(not client(), reason="Docker's compose is not installed")
def test_without_secrets_nothing_starts(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in GIVEN}
    argv = [*client(), "-f", str(ROOT / "docker-compose.yml"), "config"]
    found = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
    assert found.returncode != 0
    assert "see .env.example" in found.stderr


@pytest.mark.unit
def test_every_process_is_started_by_a_command_that_there_is() -> None:
    started = [argv[1] for argv in commands()]
    assert {"web", "worker", "stream", "simulate"} <= set(started)
    for argv in commands():
        shown = CliRunner().invoke(main, [argv[1], "--help"])
        assert shown.exit_code == 0, shown.output
        for option in (word for word in argv if word.startswith("--")):
            assert (
                option
                in CliRunner().invoke(main, [*argv[1:3], "--help"] if argv[1] == "simulate" else [argv[1], "--help"]).output
            )


@pytest.mark.unit
def test_make_starts_the_same_processes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for process in ("web", "worker", "stream"):
        assert re.search(rf"^{process}: setup", makefile, re.MULTILINE)
        assert f"$(SYNCLINE) {process}" in makefile


@pytest.mark.unit
def test_every_value_that_is_asked_for_is_explained_and_none_is_given() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert asked == set(GIVEN)
    for name in asked:
        assert re.search(rf"^{name}=", example, re.MULTILINE)
    for secret in asked - {"SYNCLINE_HOST"}:
        assert re.search(rf"^{secret}=$", example, re.MULTILINE), "no secret has a default"


@pytest.mark.unit
def test_images_are_pinned_and_ours_does_not_run_as_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) + re.findall(r"^    image: (\S+:\S+)", COMPOSE, re.MULTILINE)
    assert len(images) == 5
    for image in images:
        assert re.search(r":\d+\.\d+(\.\d+)?", image), f"{image} has no version"
        assert "alpine" not in image
    assert re.findall(r"^USER (\w+)", dockerfile, re.MULTILINE) == ["syncline"]
    assert "requirements.lock" in dockerfile
