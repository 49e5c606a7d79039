"""Every transform: what it makes, what it refuses, and which options it takes."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.syncs.engine import TRANSFORMS, Unmappable
from syncline.syncs.engine.transforms import compile_steps

pytestmark = pytest.mark.unit

MIDNIGHT_MS = 1577836800000  # 2020-01-01T00:00:00Z
FULL: dict[str, dict[str, Any]] = {
    "choice_map": {"map": {"a": "b"}},
    "truncate": {"length": 3},
    "default": {"value": "x"},
    "prefix": {"text": "x"},
    "suffix": {"text": "x"},
}


def run(value: object, *steps: dict[str, Any]) -> object:
    apply = compile_steps(steps)
    assert apply is not None
    return apply(value)


@pytest.mark.parametrize(
    ("step", "value", "expected"),
    [
        ({"name": "trim"}, " a b ", "a b"),
        ({"name": "trim"}, [" a", "b "], ["a", "b"]),
        ({"name": "lower"}, "ÀB", "àb"),
        ({"name": "upper"}, "gb", "GB"),
        ({"name": "title"}, "jane doe", "Jane Doe"),
        ({"name": "collapse"}, " a \n b\t", "a b"),
        ({"name": "domain"}, "https://www.Acme.example.com:8443/x", "acme.example.com"),
        ({"name": "domain"}, "not an address", ""),
        ({"name": "date"}, "2020-01-02", "2020-01-02"),
        ({"name": "date", "format": "%d/%m/%Y"}, " 02/01/2020 ", "2020-01-02"),
        ({"name": "date"}, dt.datetime(2020, 1, 2, 3, tzinfo=dt.UTC), "2020-01-02"),
        ({"name": "datetime", "format": "%d/%m/%Y %H:%M %z"}, "02/01/2020 03:00 +0100", "2020-01-02T02:00:00.000Z"),
        ({"name": "datetime"}, "2020-01-02T03:04:05Z", "2020-01-02T03:04:05.000Z"),
        ({"name": "epoch_ms"}, dt.date(2020, 1, 1), MIDNIGHT_MS),
        ({"name": "epoch_ms"}, dt.datetime(2020, 1, 1, 0, 0, 0, 7000, tzinfo=dt.UTC), MIDNIGHT_MS + 7),
        ({"name": "epoch_ms"}, dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC), -1000),
        ({"name": "epoch_ms"}, "2020-01-01", MIDNIGHT_MS),
        ({"name": "epoch_ms"}, MIDNIGHT_MS, dt.datetime(2020, 1, 1)),
        ({"name": "epoch_ms"}, str(MIDNIGHT_MS), dt.datetime(2020, 1, 1)),
        ({"name": "epoch_ms"}, -1000, dt.datetime(1969, 12, 31, 23, 59, 59)),
        ({"name": "number"}, "1 234,567.50", Decimal("1234567.5")),
        ({"name": "number", "decimal_comma": True}, "1.234,50", Decimal("1234.5")),
        ({"name": "number"}, True, 1),
        ({"name": "integer"}, "12.0", 12),
        ({"name": "round"}, Decimal("2.5"), 3),
        ({"name": "round"}, -2.5, -3),
        ({"name": "round", "digits": 2}, Decimal("1.005"), Decimal("1.01")),
        ({"name": "round", "digits": -2}, Decimal("1250.5"), 1300),
        ({"name": "round", "digits": -2}, 1250, 1300),
        ({"name": "boolean"}, " Yes", True),
        ({"name": "boolean"}, 0, False),
        ({"name": "text"}, Decimal("1.50"), "1.5"),
        ({"name": "choice_map", "map": {"M": "Male"}}, "M", "Male"),
        ({"name": "choice_map", "map": {"1": "one"}}, 1, "one"),
        ({"name": "choice_map", "map": {}, "default": None}, "M", None),
        ({"name": "truncate", "length": 3}, "abcdef", "abc"),
        ({"name": "default", "value": "none"}, None, "none"),
        ({"name": "default", "value": "none"}, "", "none"),
        ({"name": "default", "value": 1}, 0, 0),
        ({"name": "prefix", "text": "GB-"}, "7", "GB-7"),
        ({"name": "suffix", "text": "!"}, 7, "7!"),
        ({"name": "split"}, " a, b,,c ", ["a", "b", "c"]),
        ({"name": "split", "separator": ";"}, "a;b", ["a", "b"]),
        ({"name": "join"}, ["a", 1], "a, 1"),
        ({"name": "join", "separator": ""}, ["a", None, "b"], "ab"),
        ({"name": "join"}, "single", "single"),
    ],
)
def test_a_transform_makes(step: dict[str, Any], value: object, expected: object) -> None:
    assert TRANSFORMS[step["name"]].complaint({k: v for k, v in step.items() if k != "name"}) == ""

    found = run(value, step)

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("step", "value", "said"),
    [
        ({"name": "date", "format": "%d/%m/%Y"}, "2020-01-02", "“2020-01-02” is not a date in the form %d/%m/%Y"),
        ({"name": "date"}, "soon", "“soon” is not a date"),
        ({"name": "epoch_ms"}, "soon", "“soon” is not a number"),
        ({"name": "epoch_ms"}, 10**18, "is too large for a count of milliseconds"),
        ({"name": "number"}, "about 5", "“about 5” is not a number"),
        ({"name": "integer"}, "12.5", "“12.5” is not a whole number. Use the transform “round”"),
        ({"name": "boolean"}, "perhaps", "“perhaps” means neither yes nor no"),
        ({"name": "choice_map", "map": {"M": "Male", "F": "Female"}}, "O", "“O” is not in the choice map (M, F). Add it"),
        ({"name": "truncate", "length": 1}, {"a": 1}, "is a dict"),
    ],
)
def test_a_transform_refuses_with_advice(step: dict[str, Any], value: object, said: str) -> None:
    with pytest.raises(Unmappable) as caught:
        run(value, step)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("truncate", {}, "'length' is a required property"),
        ("truncate", {"length": 0}, "option “length”: 0 is less than the minimum of 1"),
        ("trim", {"hard": True}, "'hard' was unexpected"),
        ("choice_map", {"map": "a=b"}, "option “map”: 'a=b' is not of type 'object'"),
        ("round", {"digits": 99}, "option “digits”: 99 is greater than the maximum of 15"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, Any], said: str) -> None:
    assert said in TRANSFORMS[name].complaint(options)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "default"])
def test_an_empty_value_passes_through(name: str) -> None:
    assert run(None, {"name": name, **FULL.get(name, {})}) is None


def test_steps_follow_each_other() -> None:
    steps = ({"name": "split"}, {"name": "trim"}, {"name": "lower"}, {"name": "join", "separator": "+"})

    assert run(" A , B", *steps) == "a+b"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(alphabet=st.characters(codec=None)),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.uuids(),
    st.binary(max_size=3),
)


@given(
    names=st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=1, max_size=3),
    value=SCALARS | st.lists(SCALARS, max_size=3) | st.frozensets(st.text(max_size=2), max_size=3),
)
def test_no_chain_of_transforms_raises_anything_but_unmappable(names: list[str], value: Any) -> None:
    with suppress(Unmappable):
        run(value, *({"name": name, **FULL.get(name, {})} for name in names))


@given(st.datetimes(min_value=dt.datetime(1, 1, 2), max_value=dt.datetime(9999, 12, 30)))
def test_epoch_ms_goes_there_and_back(moment: dt.datetime) -> None:
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    assert run(moment, {"name": "epoch_ms"}, {"name": "epoch_ms"}) == cut
