"""Records whose values are not what the catalog says: each has its reason, and the others arrive."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.runs.pull import window

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.02)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        yield World(account)


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
