"""Records whose values are not what the catalog says: each has its reason, and the others arrive."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from syncline.runs.models import Run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


ODD = [
    {"a": 1},
    ["x", 1],
    float("nan"),
    Decimal("NaN"),
    True,
    7,
    10**400,
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    b"x",
    "a\0b",
    "\ud800",
]


@pytest.mark.parametrize("direction", ["pull", "two_way"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_value_of_another_type_costs_its_own_record_at_most(world: World, direction: str, value: Any) -> None:
    sound, odd = (world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Here") for n in range(2))
    world.vendor.edit(odd, city=value, nobody_knows=value)
    sync = world.pulling(direction)

    runs = [world.run(sync), world.run(sync)]

    assert world.here()["Name 0"][1] == "Here"
    assert all(run.state in (Run.State.SUCCEEDED, Run.State.PROBLEMS) for run in runs), [run.reason for run in runs]
    assert ("Name 1" in world.here()) != (odd in world.arrivals())
    assert sound not in world.arrivals()
