"""The guard around CEL: what is refused before it runs, what a row can make of it, and what leaks nowhere."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.syncs.engine.expressions import FUNCTIONS, EvaluationFailed, Expression, Refused

pytestmark = pytest.mark.unit

ROW: dict[str, Any] = {
    "name": " Acme ",
    "founded": dt.date(2001, 2, 3),
    "seen": dt.datetime(2024, 5, 6, 7, tzinfo=dt.UTC),
    "raised": Decimal("10.50"),
    "note": None,
    "country": "GB",
    "deals": 6,
    "tags": ["b", "a"],
    "token": uuid.UUID(int=5),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("lower(trim(name))", "acme"),
        ("name.trim().upper()", "ACME"),
        ("founded > timestamp('2000-01-01T00:00:00Z') && raised >= 10.5", True),
        ("note == null ? 'none' : note", "none"),
        ("coalesce(note, '', country)", "GB"),
        ("length('é')", 1),
        ("length(note)", 0),
        ("length(tags)", 2),
        ("domain('https://www.acme.example.com/x')", "acme.example.com"),
        ("text(deals) + '/' + text(true) + text(note)", "6/true"),
        ("number('1.5') * 2.0", 3.0),
        ("number(country)", None),
        ("tags.exists(t, t == 'a')", True),
        ("[1, 2].map(n, n * deals)", [6, 12]),
        ("seen", ROW["seen"]),
        ("token", str(ROW["token"])),
        ("'all (of them)'", "all (of them)"),
    ],
)
def test_an_expression_gives(source: str, expected: object) -> None:
    assert Expression(source, ROW)(ROW) == expected


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("name +", "Line 1, column 7: mismatched input 'end of the expression'."),
        ("name\n+\n)", "Line 3, column 1: mismatched input ')'."),
        ("name ? 1", "Line 1, column 9: mismatched input 'end of the expression'."),
        ("'open", "Line 1, column 1: token recognition error at: ''open'."),
        ("note.?x", "Line 1, column 5: unsupported syntax '.?'."),
        (
            "nmae + 'x'",
            "Unknown field: nmae. The dataset has name, founded, seen, raised, note, country, deals, tags and 1 more.",
        ),
        ("lowr(name)", "Unknown function: lowr. Own functions are lower, upper, trim"),
        ("name.shorten()", "Unknown function: shorten."),
        ("  ", "The expression is empty."),
        ("1" * 1001, "has 1001 characters; at most 1000 are allowed"),
        ("[1].map(a, [1].map(b, [1].map(c, a)))", "has 3 list functions (map, filter, all, exists); at most 2"),
        ("[1].map//\n(a, [1]. filter (b, true).all( c, true))", "has 3 list functions"),
    ],
)
def test_an_expression_is_refused(source: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        Expression(source, ROW)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("name + deals", "Unsupported operation"),
        ("note + 'x'", "Unsupported operation: null + string"),
        ("1 / (deals - 6)", "division by zero"),
        ("tags[5]", "index out of bounds"),
        ("double(name)", "invalid float literal"),
        ("name.matches('(')", "unclosed group"),
    ],
)
def test_a_row_can_fail_without_a_word_of_the_engine_s_advice(source: str, said: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        Expression(source, ROW)(ROW)

    assert said in str(caught.value)
    assert "Check function arguments" not in str(caught.value)


def test_only_what_it_names_is_needed() -> None:
    expression = Expression("tags.exists(t, t == country)", ROW)

    assert expression.needs == ("country", "tags")
    assert expression({"country": "GB", "tags": ["GB"]}) is True


def test_lists_are_capped_and_more_so_when_nested() -> None:
    fields, items = ["tags"], {"tags": ["x"] * 201}

    assert len(Expression("tags.map(t, t)", fields)(items)) == 201
    with pytest.raises(EvaluationFailed, match="A list of 201 is too long for an expression; at most 200"):
        Expression("tags.map(t, tags.exists(u, u == t))", fields)(items)


def test_the_engine_logs_no_values(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(value: str) -> str:
        raise ValueError(value)

    monkeypatch.setitem(cast(dict[str, Any], FUNCTIONS), "lower", fails)
    with caplog.at_level(logging.DEBUG), pytest.raises(EvaluationFailed):
        Expression("lower(name)", ROW)({"name": "s3cr3t"})

    assert "s3cr3t" not in caplog.text
    assert "s3cr3t" not in "".join(capfd.readouterr())


def test_threads_do_not_see_each_other_s_rows() -> None:
    expression = Expression("text(deals) + '-' + lower(name)", ROW)

    def wrong(thread: int) -> int:
        numbers = range(thread * 10_000, thread * 10_000 + 2000)
        return sum(expression({"deals": n, "name": f"N{n}"}) != f"{n}-n{n}" for n in numbers)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(4))) == 0


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(alphabet=st.characters(codec=None)),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.binary(max_size=3),
)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(arguments=st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3))
def test_an_own_function_never_fails(name: str, arguments: list[Any]) -> None:
    FUNCTIONS[name](*arguments)  # an exception is the failure


EXPRESSIONS = [
    Expression(source, ["a", "b"])
    for source in (
        "a == b",
        "a + b",
        "lower(a) + trim(b)",
        "a > b",
        "size(a) / size(b)",
        "[a, b].exists(x, x == null)",
        "string(a)",
    )
]


@given(expression=st.sampled_from(EXPRESSIONS), a=SCALARS | st.lists(SCALARS, max_size=2), b=SCALARS)
def test_no_row_raises_anything_but_evaluation_failed(expression: Expression, a: Any, b: Any) -> None:
    with suppress(EvaluationFailed):
        expression({"a": a, "b": b})


@given(st.text(alphabet="ab.+*/()[]{}'\"?:<>=!&|, \n0123456789mapfiltersize", max_size=40))
def test_no_source_raises_anything_but_refused(source: str) -> None:
    with suppress(Refused):
        Expression(source, ["a", "b"])
