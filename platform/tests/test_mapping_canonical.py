"""One value per meaning: canonical forms, their fingerprints, and what has no form."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import Kind, Property, Value
from syncline.syncs.engine import Unmappable
from syncline.syncs.engine.canonical import canonical, digest, fingerprint

pytestmark = pytest.mark.unit

KINDS = [kind for kind in Kind if kind is not Kind.REFERENCE]
SINGLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(alphabet=st.characters(codec=None)),
    st.from_regex(r"-?\d{1,9}(\.\d{1,4})?", fullmatch=True),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates().map(str),
    st.datetimes().map(str),
    st.times(),
    st.uuids(),
    st.binary(max_size=5),
    st.emails(),
)
ANY = SINGLE | st.lists(SINGLE, max_size=4) | st.frozensets(st.text(max_size=3)) | st.dictionaries(st.text(), SINGLE, max_size=1)


def as_kind(kind: Kind, value: object) -> Value:
    return canonical(Property("p", "P", kind), value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.STRING, "e\u0301", "\u00e9"),
        (Kind.STRING, " kept ", " kept "),
        (Kind.STRING, "", None),
        (Kind.STRING, 5, "5"),
        (Kind.STRING, Decimal("1E+2"), "100"),
        (Kind.STRING, 1e-7, "0.0000001"),
        (Kind.STRING, True, "true"),
        (Kind.STRING, dt.date(2020, 1, 2), "2020-01-02"),
        (Kind.STRING, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Kind.NUMBER, Decimal("12.50"), Decimal("12.5")),
        (Kind.NUMBER, Decimal("1E+2"), 100),
        (Kind.NUMBER, 3.0, 3),
        (Kind.NUMBER, 0.1, Decimal("0.1")),
        (Kind.NUMBER, Decimal("-0.0"), 0),
        (Kind.NUMBER, " 7.10 ", Decimal("7.1")),
        (Kind.NUMBER, " ", None),
        (Kind.BOOLEAN, "True", True),
        (Kind.BOOLEAN, 0, False),
        (Kind.BOOLEAN, "", None),
        (Kind.DATE, dt.datetime(2020, 1, 1, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-2))), "2020-01-02"),
        (Kind.DATE, "2020-01-02", "2020-01-02"),
        (Kind.DATE, "2020-01-02T23:00:00-02:00", "2020-01-03"),
        (Kind.DATETIME, dt.datetime(2020, 1, 2, 3, 4, 5, 678999), "2020-01-02T03:04:05.678Z"),
        (Kind.DATETIME, dt.datetime(2020, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=1))), "2020-01-02T02:00:00.000Z"),
        (Kind.DATETIME, dt.date(2020, 1, 2), "2020-01-02T00:00:00.000Z"),
        (Kind.DATETIME, "2020-01-02T03:04:05Z", "2020-01-02T03:04:05.000Z"),
        (Kind.CHOICE, "GB ", "GB "),
        (Kind.SET, ["b", "a", "b", "", None], ("a", "b")),
        (Kind.SET, "a", ("a",)),
        (Kind.SET, [], None),
        (Kind.EMAIL, " Jo@Example.ORG ", "jo@example.org"),
    ],
)
def test_a_value_has_one_form(kind: Kind, value: object, expected: object) -> None:
    found = as_kind(kind, value)

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Kind.NUMBER, "1,000", "“1,000” is not a number. Correct it in the record, or add the transform “number”"),
        (Kind.NUMBER, float("nan"), "is not a finite number"),
        (Kind.NUMBER, True, "“True” is a boolean, not a number. Add the transform “number”"),
        (Kind.NUMBER, Decimal("1E+400"), "is too large or too small a number"),
        pytest.param(Kind.NUMBER, 10**5000, "“a very large int” is too large", id="huge"),
        (Kind.NUMBER, Decimal("1." + "3" * 500), "has too many digits. Add the transform “round”"),
        (Kind.NUMBER, dt.date(2020, 1, 1), "is a date, not a number. Add the transform “epoch_ms”"),
        (Kind.BOOLEAN, Decimal("sNaN"), "“sNaN” is not a finite number"),
        (Kind.BOOLEAN, 2, "“2” is neither true nor false"),
        (Kind.BOOLEAN, "maybe", "“maybe” is neither true nor false. Add the transform “boolean”"),
        (Kind.DATE, "02/01/2020", "“02/01/2020” is not a date in the form YYYY-MM-DD. Add the transform “date”"),
        (Kind.DATE, "2020-02-30", "is not a date"),
        (Kind.DATE, 1, "is not a date. Add the transform “epoch_ms”"),
        (Kind.DATETIME, "noon", "is not an ISO 8601 date and time"),
        (Kind.DATETIME, dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), "outside the years 1 to 9999"),
        (Kind.STRING, ["a"], "is a list, not a single value. Add the transform “join”"),
        (Kind.STRING, {"a": 1}, "is a dict, which no property holds"),
        (Kind.STRING, "\ud800", "half a surrogate pair"),
    ],
)
def test_what_has_no_form_is_named_with_advice(kind: Kind, value: object, said: str) -> None:
    with pytest.raises(Unmappable) as caught:
        as_kind(kind, value)

    assert said in str(caught.value)


@given(kind=st.sampled_from(KINDS), value=ANY)
def test_canonical_is_idempotent_and_never_raises_anything_else(kind: Kind, value: Any) -> None:
    try:
        once = as_kind(kind, value)
    except Unmappable:
        return

    twice = as_kind(kind, once)
    assert (twice, type(twice)) == (once, type(once))
    assert fingerprint(twice) == fingerprint(once)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_equal_numbers_have_equal_forms_whatever_their_type(value: Decimal) -> None:
    forms = {as_kind(Kind.NUMBER, form) for form in (value, format(value, "f"), value * 1, Decimal(f"{value:f}000"))}

    assert {fingerprint(form) for form in forms} == {fingerprint(value)}
    assert "E" not in format(next(iter(forms)), "f")


CANONICAL_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=3, unique=True).map(lambda texts: tuple(sorted(texts))),
)


@given(CANONICAL_VALUES, CANONICAL_VALUES)
def test_fingerprints_are_equal_for_equal_values_of_one_type_only(left: Value, right: Value) -> None:
    same = type(left) is type(right) and left == right

    assert (fingerprint(left) == fingerprint(right)) is same


def test_fingerprints_tell_types_and_members_apart_and_are_stable() -> None:
    values: list[Value] = [None, "", "1", 1, True, False, 0, ("1",), ("a", "b"), ("ab",), (), ("a", ""), "None"]

    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint("Acme") == "CAagjpMzbnc"
    assert fingerprint(None) == "llxlEuwSgJc"


def test_a_digest_does_not_depend_on_order_and_sees_every_part() -> None:
    assert digest({"a": "x", "b": "y"}) == digest({"b": "y", "a": "x"})
    others = [{}, {"a": "x"}, {"a": "y", "b": "x"}, {"a": "x", "b": "y", "c": "z"}]
    assert len({digest(other) for other in others}) == len(others)
