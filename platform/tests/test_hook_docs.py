"""No hook without its section in docs/hooks.md, a real connector or app that uses it, and a check or test that exercises it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from syncline.contract import AppSpec, ConnectorSpec
from syncline.contract.hookspecs import CONTRACT_VERSION, PROJECT
from syncline.contract.testing.suite import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### (.+)\n((?:(?!^##).*\n?)*)", re.MULTILINE)
#: Checks of what these two say ask the lab for it, not the hook by name.
BY_ANOTHER_NAME = {"describe": "lab.info", "check": "lab.call.check"}
pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Section:
    heading: str
    text: str

    @property
    def arguments(self) -> dict[str, str]:
        return dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", self.text, re.MULTILINE))

    @property
    def gives(self) -> str:
        found = re.search(r"^Gives `([^`]+)`", self.text, re.MULTILINE)
        return found[1] if found else ""

    def names_after(self, word: str) -> list[str]:
        found = re.search(rf"{word}: (.*?)\.(?:\s|\Z)", self.text, re.DOTALL)
        return re.findall(r"`([^`]+)`", found[1]) if found else []


SECTIONS = {heading.strip("`"): Section(heading.strip("`"), text) for heading, text in SECTION.findall(PAGE)}


def hooks_of(spec: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, function in vars(spec).items():
        if hasattr(function, f"{PROJECT}_spec"):
            yield name, function


HOOKS = {name: function for spec in (ConnectorSpec, AppSpec) for name, function in hooks_of(spec)}


def heading(name: str) -> str:
    return f"{name}({', '.join(list(inspect.signature(HOOKS[name]).parameters)[1:])})"


def section(name: str) -> Section:
    return SECTIONS.get(heading(name)) or pytest.fail(f"docs/hooks.md lacks the section `{heading(name)}`.")


def test_there_is_one_section_per_hook_headed_by_its_signature() -> None:
    assert sorted(SECTIONS) == sorted(heading(name) for name in HOOKS)
    assert PAGE.count("\n### ") == len(HOOKS)
    assert f"version {CONTRACT_VERSION}." in PAGE


@pytest.mark.parametrize("name", HOOKS)
def test_arguments_and_answer_have_the_types_of_the_contract(name: str) -> None:
    signature = inspect.signature(HOOKS[name])
    arguments = [one for one in signature.parameters.values() if one.name != "self"]

    assert section(name).arguments == {one.name: one.annotation for one in arguments}
    assert section(name).gives == signature.return_annotation


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_is_real_code(name: str) -> None:
    blocks = re.findall(r"^```python file=(\S+)\n(.*?)^```$", section(name).text, re.MULTILINE | re.DOTALL)

    assert blocks
    for file, code in blocks:
        assert code in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not hold the example of {name}."


def users(name: str) -> set[str]:
    """Import packages in plugins/ or apps/ with an installed connector or app that implements the hook."""
    found = set()
    for entry in [*entry_points(group=f"{PROJECT}.connectors"), *entry_points(group=f"{PROJECT}.apps")]:
        module, _, attribute = entry.value.replace(":", ".").rpartition(".")
        plugin = getattr(import_module(module), attribute)
        home = Path(inspect.getfile(plugin)).resolve()
        real = any(home.is_relative_to(ROOT / folder) for folder in ("plugins", "apps"))
        if real and hasattr(getattr(plugin, name, None), f"{PROJECT}_impl"):
            found.add(module.partition(".")[0])
    return found


@pytest.mark.parametrize("name", HOOKS)
def test_a_real_connector_or_app_uses_it(name: str) -> None:
    assert users(name), f"{name} has no consumer in plugins/ or apps/: take it out of the contract until it has one."
    assert set(section(name).names_after("Used by")) <= users(name)
    assert section(name).names_after("Used by")


def exercises(proof: str, name: str) -> bool:
    """A conformance check that needs the hook or asks for it, or a test in whose file it is called."""
    if proof in CHECKS:
        check = CHECKS[proof]
        return name in check.needs or BY_ANOTHER_NAME.get(name, name) in inspect.getsource(check.run)
    file, _, test = proof.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
    return f"def {test}(" in text and name in text


@pytest.mark.parametrize("name", HOOKS)
def test_a_check_or_a_test_exercises_it(name: str) -> None:
    proofs = section(name).names_after("Proven by")

    assert proofs, f"Name what proves {name}: a conformance check, or a test as file::name."
    assert [proof for proof in proofs if not exercises(proof, name)] == []
