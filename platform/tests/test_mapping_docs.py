"""What docs/mapping.md says is there, is there; and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from syncline.contract import DatasetInfo, Field, ObjectType, Op, Property
from syncline.contract.normalise import NORMALISERS
from syncline.syncs.engine import TRANSFORMS
from syncline.syncs.engine.expressions import FUNCTIONS

pytestmark = pytest.mark.unit

TEXT = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_table_has_every_transform_and_no_other() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in section("Transforms").splitlines() if line.startswith("| `")
    ]

    assert {row[0].strip("`"): tuple(row[1:]) for row in rows} == {
        name: (one.label, ", ".join(f"`{option}`" for option in one.options) or "–", one.help) for name, one in TRANSFORMS.items()
    }


def test_every_function_and_normaliser_is_named() -> None:
    first = section("Expressions").split("Beside CEL's standard functions there are", 1)[1].split("They never fail")[0]

    assert set(re.findall(r"`(\w+)`", first)) == set(FUNCTIONS)
    assert {name for name in NORMALISERS if f"`{name}`" in section("Match rule")} == set(NORMALISERS)


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    dataset = DatasetInfo("a.b", "B", (Field("website", "Website"),))
    object_type = ObjectType("o", "O", (Property("domain", "Domain"),), {Op.UPSERT: 100})

    exec(example, {"dataset": dataset, "object_type": object_type})
