"""Each package builds by itself, and what it needs besides code is inside: templates, static files, migrations, types."""

from __future__ import annotations

import email
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(
    path.parent for pattern in ("platform", "plugins/*", "apps/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
#: What a careless build, or a pattern of ignored files, leaves out.
NEEDED = {
    "platform": (
        "syncline/migrations/0",
        "syncline/templates/",
        "syncline/static/",
        "syncline/management/commands/",
        "syncline_host/wsgi",
    ),
    "companies": (
        "syncline_companies/migrations/0",
        "syncline_companies/templates/",
        "syncline_companies/static/companies/chart",
    ),
    "hubspot": ("syncline_hubspot/sandbox/__main__",),
}
pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Built:
    project: Mapping[str, Any]
    names: frozenset[str]
    metadata: Message
    entry_points: str


@pytest.fixture(params=PACKAGES, ids=lambda path: path.name, scope="module")
def package(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture(scope="module")
def built(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel, made from the source distribution, so that this one is complete as well."""
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--offline",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "-o",
        str(out),
    ]
    done = subprocess.run([*command, str(package)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        points = f"{info}/entry_points.txt"
        return Built(
            tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8")),
            frozenset(names),
            email.message_from_string(archive.read(f"{info}/METADATA").decode()),
            archive.read(points).decode() if points in names else "",
        )


def sources(package: Path, built: Built) -> set[str]:
    """The files of the import packages, as they are named in a wheel; ignored ones are not among them."""
    found: set[str] = set()
    for folder in built.project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        base = package / folder
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", str(base)]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        found |= {str((ROOT / name).relative_to(base.parent)) for name in listed if (ROOT / name).is_file()}
    return found


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(package: Path, built: Built) -> None:
    inside = {name for name in built.names if ".dist-info/" not in name}

    assert inside == sources(package, built)
    assert any(name.endswith("/py.typed") for name in inside)


def test_it_says_what_it_is_and_what_it_offers(package: Path, built: Built) -> None:
    project = built.project["project"]

    assert built.metadata["Name"] == project["name"]
    assert built.metadata["Requires-Python"] == ">=3.11"
    assert built.metadata.get_payload() == (package / "README.md").read_text(encoding="utf-8")
    for group, points in project.get("entry-points", {}).items():
        assert f"[{group}]" in built.entry_points
        assert all(f"{name} = {value}" in built.entry_points for name, value in points.items())


def test_the_parts_it_needs_besides_code_are_there(package: Path, built: Built) -> None:
    missing = [part for part in NEEDED.get(package.name, ()) if not any(name.startswith(part) for name in built.names)]

    assert missing == []
