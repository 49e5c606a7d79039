"""The pages for authors of connectors are true: their code is the example's, which installs and keeps the contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from syncline.contract.testing.suite import CHECKS

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "notes"
BLOCK = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.unit


def shown() -> dict[str, list[str]]:
    """File → the lines of its blocks on the page, without blank ones."""
    lines: dict[str, list[str]] = {}
    for file, text in BLOCK.findall((DOCS / "connectors.md").read_text()):
        lines.setdefault(file, []).extend(line for line in text.splitlines() if line.strip())
    return lines


def written() -> dict[str, list[str]]:
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in {".py", ".toml"} and path.stat().st_size]
    lines = {str(path.relative_to(EXAMPLE)): path.read_text().splitlines() for path in files}
    return {file: [line for line in text if line.strip()] for file, text in lines.items()}


def test_the_page_shows_the_whole_example_and_nothing_else() -> None:
    assert shown() == written()


def test_the_table_lists_every_check_with_its_rule() -> None:
    page = (DOCS / "conformance.md").read_text()
    table = page.partition("<!-- checks: begin -->")[2].partition("<!-- checks: end -->")[0].strip().splitlines()
    rows = [f"| `{c.name}` | {c.rule} | {', '.join(sorted(c.needs)) or '–'} |" for c in CHECKS.values()]
    assert table[2:] == rows


def test_the_example_installs_and_passes_its_own_tests(tmp_path: Path) -> None:
    """As an author would have it: a package elsewhere, found by its entry point, tried through its own sandbox process."""
    source, site = tmp_path / "notes", tmp_path / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    offline = ["--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable]
    run([sys.executable, "-m", "uv", "pip", "install", *offline, "--target", str(site), str(source)], tmp_path)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:django", "-p", "no:cacheprovider", "tests"]
    said = run(pytest_command, source, PYTHONPATH=str(site))
    assert f"{len(CHECKS)} passed" in said, said


def run(command: list[str], folder: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE" and "PYTEST" not in name}
    settings = {**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
