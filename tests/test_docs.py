"""Links lead somewhere, every page can be found, and what docs/design.md names is there."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```[\s\S]*?^```|^ {4,}\S.*$|`[^`\n]*`", re.MULTILINE)
#: Paths are named from the top of the repository.
TOPS = ("platform/", "plugins/", "apps/", "tests/", "docs/")
pytestmark = pytest.mark.unit


def files(*patterns: str) -> list[Path]:
    """What belongs to the repository, new files included and ignored ones not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for name in sorted(set(listed)) if (path := ROOT / name).is_file()]


PAGES = files("*.md")


def anchors(page: Path) -> set[str]:
    """Ids of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    return [target for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))) if "://" not in target]


def leads_somewhere(page: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    there = (page.parent / file).resolve() if file else page
    return there.exists() and (not anchor or anchor in anchors(there))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not leads_somewhere(page, target)] == []


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / target).resolve() for target in links(index)}

    assert {page for page in PAGES if page.parent == index.parent and page != index} <= listed
    assert index in {(ROOT / target).resolve() for target in links(ROOT / "README.md")}


#: Read by demos and tests only.
OF_AUTHORS = {"COMPANIES", "FIXTURE", "MESSAGES", "JSON", "KAFKA_BOOTSTRAP_SERVERS", "SYNCLINE_BROKER_NAME", "SYNCLINE_CRASH_AT"}
READ = re.compile(r"""(?:environ\.get\(|words\(|secret\(|^SETTING: Final = )"([A-Z_]+)\"""", re.MULTILINE)


def test_every_variable_of_the_environment_is_described() -> None:
    """In the list that says it is whole, of what is read by the host, the platform and the apps."""
    code = [path.read_text(encoding="utf-8") for path in files("platform/src/*.py", "platform/host/*.py", "apps/*/src/*.py")]
    found = {name for text in code for name in READ.findall(text)} - OF_AUTHORS
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([A-Z_]+)`", " ".join(re.findall(r"^\| (`[A-Z].*?) \|", page, re.MULTILINE))))

    assert len(found) > 25
    assert found - listed == set()
    assert listed - found == set()


@cache
def design() -> list[str]:
    """What docs/design.md has in back ticks, each once."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    return list(dict.fromkeys(re.findall(r"`([^`\n]+)`", text)))


def test_the_paths_in_the_design_exist() -> None:
    paths = [name for name in design() if name.startswith(TOPS)]

    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_tests_in_the_design_exist() -> None:
    named = [name for name in design() if name.startswith("test_")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files("*/test_*.py")]
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert len(named) > 20
    assert sorted(set(named) - there) == []


def test_the_tables_in_the_design_are_the_models_and_no_others() -> None:
    from django.apps import apps

    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text.partition("## The tables")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {
        model.__name__ for model in apps.get_app_config("syncline").get_models()
    }


def test_nothing_is_called_planned_that_is_there() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    planned = text.partition("## Planned, not built")[2]
    built = [name for name in ("inbox", "outbox") if (ROOT / "platform/src/syncline" / name).exists() and name in planned.lower()]

    assert built == []
