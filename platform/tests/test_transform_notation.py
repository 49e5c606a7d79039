"""Transforms as text: what is written is read back the same, and what cannot be read is said."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.runs import schedule
from syncline.syncs import notation

pytestmark = pytest.mark.unit

WORDS = st.text(max_size=30)
STEPS = st.one_of(
    st.sampled_from(["trim", "lower", "upper", "domain", "epoch_ms"]).map(lambda name: {"name": name}),
    st.integers(1, 10**9).map(lambda length: {"name": "truncate", "length": length}),
    st.one_of(WORDS, st.integers(), st.booleans()).map(lambda value: {"name": "default", "value": value}),
    WORDS.map(lambda text: {"name": "prefix", "text": text}),
    st.dictionaries(WORDS, st.one_of(WORDS, st.booleans(), st.none()), max_size=4).map(
        lambda table: {"name": "choice_map", "map": table, "default": "x"}
    ),
)


@given(st.lists(STEPS, max_size=4))
def test_what_is_written_is_read_back(steps: list[dict[str, object]]) -> None:
    assert notation.read(notation.write(steps)) == steps


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("", []),
        (" trim|lower ", [{"name": "trim"}, {"name": "lower"}]),
        ("truncate length = 40", [{"name": "truncate", "length": 40}]),
        ("default value=unknown", [{"name": "default", "value": "unknown"}]),
        ('default value="7"', [{"name": "default", "value": "7"}]),
        ('prefix text="a | b"', [{"name": "prefix", "text": "a | b"}]),
    ],
)
def test_lines_are_read(line: str, steps: list[dict[str, object]]) -> None:
    assert notation.read(line) == steps


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shout", "no transform “shout”"),
        ("trim |", "name is missing"),
        ("| trim", "name is missing"),
        ("truncate", "wrong options"),
        ("truncate length=x", "wrong options"),
        ("truncate length=", "no value"),
        ('prefix text="open', "not closed"),
        ("trim lower", "not understood"),
        ("trim length=1", "wrong options"),
    ],
)
def test_what_cannot_be_read_is_said(line: str, said: str) -> None:
    with pytest.raises(notation.Unreadable, match=said):
        notation.read(line)


def test_what_is_no_list_of_steps_is_shown_as_it_is() -> None:
    assert notation.write({"name": "trim"}) == '{"name": "trim"}'
    assert notation.write([{"nom": "trim"}]) == '[{"nom": "trim"}]'


def test_the_next_times_of_a_schedule() -> None:
    noon = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
    assert [one.isoformat() for one in schedule.next_times("0 3 * * *", 2, noon)] == [
        "2026-11-22T03:00:00+00:00",
        "2026-11-23T03:00:00+00:00",
    ]
    assert schedule.next_times("", 3) == []


@pytest.mark.parametrize(
    ("cron", "fine"), [("", True), ("*/15 * * * *", True), ("@daily", False), ("0 3 * *", False), ("0 0 30 2 *", False)]
)
def test_schedules_are_checked(cron: str, fine: bool) -> None:
    assert (schedule.complaint(cron) == "") is fine
