"""Every error has its consequence, every code its next step, and docs/operations.md says the same."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import syncline
from syncline.contract import Code, RateLimited, Retryable, SynclineError
from syncline.runs.outcome import (
    ARRIVAL_STEPS,
    CONSEQUENCES,
    DEFAULT_ARRIVAL_STEP,
    DEFAULT_STEP,
    NEXT_STEPS,
    Consequence,
    consequence,
    next_step,
)

pytestmark = pytest.mark.unit
PARTS = {
    "again": "queued again after a pause",
    "lost": "left to the worker that has it now",
    "dead": "given up; the others are carried out, and the run fails",
    "ends": "given up, and the run ends at once",
}
DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
LOCAL = [
    name
    for _, name, _ in pkgutil.walk_packages(syncline.__path__, "syncline.", onerror=lambda _name: None)
    if not name.startswith(
        ("syncline.contract.testing", "syncline.migrations", "syncline.management", "syncline.pages", "syncline.api")
    )
]


def subclasses(of: type[BaseException]) -> Iterator[type[BaseException]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def line(one: Consequence) -> str:
    connection = str(one.connection.label) if one.connection else "–"
    return f"| `{one.error.__name__}` | {PARTS[one.part]} | {'yes' if one.spends else 'no'} | {connection} | {one.next_step} |"


def test_every_error_of_ours_has_a_consequence_of_its_own() -> None:
    for name in LOCAL:
        importlib.import_module(name)
    found = {e for e in subclasses(SynclineError) if e.__module__.startswith("syncline.")}
    assert len(found) >= 12
    general = consequence(SynclineError())
    unclear = [e.__name__ for e in found if next(c for c in CONSEQUENCES if issubclass(e, c.error)) is general]
    assert unclear == []


def test_the_first_line_that_fits_decides_so_special_errors_stand_before_general_ones() -> None:
    for number, one in enumerate(CONSEQUENCES):
        assert not any(issubclass(one.error, earlier.error) for earlier in CONSEQUENCES[:number]), one.error
    assert consequence(RateLimited()).spends is False
    assert consequence(Retryable()).spends is True
    assert consequence(ZeroDivisionError()).part == "again"


def test_every_refusal_has_a_next_step() -> None:
    assert {code.value for code in Code} - set(NEXT_STEPS) == {"other"}
    assert next_step("other") == DEFAULT_STEP
    assert next_step("other", pulled=True) == DEFAULT_ARRIVAL_STEP
    assert all(step.endswith(".") for step in (*NEXT_STEPS.values(), *ARRIVAL_STEPS.values()))


def test_what_a_person_does_about_an_arrival_is_not_said_about_records_here() -> None:
    assert "in the account" in next_step("too_long", pulled=True)
    assert "here" in next_step("too_long")
    assert next_step("withheld", pulled=True) == NEXT_STEPS["withheld"]


def test_the_documentation_holds_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = re.search(r"<!-- consequences -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert table is not None
    head = "| error | the part of the run is | costs an attempt | connection | what to do |\n|---|---|---|---|---|\n"
    wanted = head + "\n".join(map(line, CONSEQUENCES)) + "\n"
    if os.environ.get("SYNCLINE_WRITE_DOCS") == "1":
        DOCS.write_text(text[: table.start(1)] + wanted + text[table.end(1) :], encoding="utf-8")
        return
    assert table.group(1) == wanted, "run this test once with SYNCLINE_WRITE_DOCS=1"
