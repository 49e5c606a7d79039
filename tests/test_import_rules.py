"""Imports run one way. The packages are found by their folders, so that a new one needs no entry here or anywhere.

contract → registry, background → connections → catalog → syncs → ledger → inbox, outbox → runs → pages, api. What
stands beside these in `syncline` (cli.py, apps.py, models.py …) may import all of them and is imported by none. Connectors and
apps import `syncline.contract` only, never each other; only `syncline.background` knows django_q.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import grimp
import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
LAYERS = (
    {"contract", "localdb", "pgloaders"},
    {"registry", "background"},
    {"connections"},
    {"catalog"},
    {"syncs"},
    {"ledger"},
    {"inbox", "outbox"},
    {"runs"},
    {"pages", "api"},
)
TOP = len(LAYERS)

Edge = tuple[str, str]


def part(module: str) -> str:
    """`syncline.runs.push` → `runs`. The conformance suite ships inside the contract but stands above everything."""
    if module.startswith("syncline.contract.testing"):
        return "contract.testing"
    return module.split(".")[1] if "." in module else ""


def rank(module: str) -> int:
    return next((level for level, parts in enumerate(LAYERS) if part(module) in parts), TOP)


def goes_down(importer: str, imported: str) -> bool:
    return part(importer) == part(imported) or rank(importer) > rank(imported) or rank(importer) == TOP


def broken_rules(edges: Iterable[Edge], plugins: set[str]) -> Iterator[str]:
    for importer, imported in sorted(edges):
        for rule in broken_by(importer, imported, plugins):
            yield f"{importer} imports {imported}: {rule}"


def broken_by(importer: str, imported: str, plugins: set[str]) -> Iterator[str]:
    owner, target = importer.split(".", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    if target == "django_q" and (owner, part(importer)) != ("syncline", "background"):
        yield "only syncline.background knows Django-Q2"
    if target == "django" and part(importer) == "contract" and owner == "syncline":
        yield "the contract imports Django only under TYPE_CHECKING"
    if owner in plugins:
        yield from broken_by_plugin(owner, imported, plugins)
    elif target in plugins and not importer.startswith("syncline_host.demo"):  # the demo shows one of each
        yield "the host names no connector or app"
    elif owner == target == "syncline" and not goes_down(importer, imported):
        yield f"{part(importer) or 'syncline'} stands below or beside {part(imported)}"
    elif owner == "syncline" and target == "syncline_host":
        yield "the platform does not know the project that runs it"


def broken_by_plugin(owner: str, imported: str, plugins: set[str]) -> Iterator[str]:
    target = imported.split(".", maxsplit=1)[0]
    if target in plugins - {owner}:
        yield "connectors and apps never import each other"
    if target in {"syncline", "syncline_host"} and not f"{imported}.".startswith("syncline.contract."):
        yield "connectors and apps import syncline.contract only"


def edges_of(packages: Iterable[str]) -> set[Edge]:
    graph = grimp.build_graph(
        *sorted(packages), include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    return {(module, imported) for module in graph.modules for imported in graph.find_modules_directly_imported_by(module)}


def packages_in(*patterns: str) -> dict[str, Path]:
    return {init.parent.name: init.parent.parent for pattern in patterns for init in ROOT.glob(f"{pattern}/*/__init__.py")}


def test_imports_run_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = packages_in("plugins/*/src", "apps/*/src")
    packages = {**plugins, **packages_in("platform/src", "platform/host")}
    for source in packages.values():
        monkeypatch.syspath_prepend(str(source))

    edges = edges_of(packages)

    assert {"syncline", "syncline_host", "syncline_hubspot", "syncline_companies"} <= set(packages)
    assert ("syncline.background.bell", "django_q") in edges  # the graph sees imports inside functions
    assert list(broken_rules(edges, set(plugins))) == []


VIOLATIONS = {
    "syncline_bad/connector.py": ("from syncline.registry import registry", "import syncline.contract only"),
    "syncline_bad/sandbox.py": ("import syncline_other.client", "never import each other"),
    "syncline_bad/late.py": ("def later():\n    import django_q.tasks", "only syncline.background"),
    "syncline_bad/host.py": ("from syncline_host import settings", "import syncline.contract only"),
}


@pytest.mark.parametrize("path", VIOLATIONS)
def test_a_violating_package_is_caught(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, rule = VIOLATIONS[path]
    for name in ("syncline_bad", "syncline_other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "syncline_other" / "client.py").touch()
    (tmp_path / path).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = {"syncline_bad", "syncline_other"}

    found = list(broken_rules(edges_of({*packages, "syncline", "syncline_host"}), packages))

    assert [line for line in found if line.startswith("syncline_bad")]
    assert rule in " ".join(found)
    assert "syncline_bad" not in sys.modules  # the rules read source and run none of it


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("syncline.contract.values", "syncline.registry", False),
        ("syncline.contract.dataset", "django", False),
        ("syncline.registry.current", "syncline.background", False),
        ("syncline.ledger.writer", "syncline.runs.models", False),
        ("syncline.runs.push", "syncline.cli", False),
        ("syncline.runs.push", "syncline.models", False),
        ("syncline.runs.push", "syncline_hubspot.client", False),
        ("syncline_hubspot.client", "syncline", False),
        ("syncline_hubspot.client", "syncline.contracts", False),
        ("syncline.connections.vault", "syncline_host.settings", False),
        ("syncline_host.up", "django_q", False),
        ("syncline.runs.push", "syncline.ledger.writer", True),
        ("syncline.ledger.models", "syncline.connections.models", True),
        ("syncline.runs.push", "syncline.runs.claims", True),
        ("syncline.apps", "syncline.pages.admin", True),
        ("syncline_hubspot.sandbox.server", "syncline_hubspot.objects", True),
        ("syncline_hubspot.connector", "syncline.contract.http", True),
        ("syncline_host.urls", "syncline.registry", True),
    ],
)
def test_each_rule(importer: str, imported: str, allowed: bool) -> None:
    assert (not list(broken_by(importer, imported, {"syncline_hubspot"}))) is allowed
