"""Values that go as they come take a short way through a rule, and what they become is what the long way makes of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import DatasetInfo, Field, Kind, Property
from syncline.syncs.engine import rules
from syncline.syncs.engine.content import RuleContent
from syncline.syncs.engine.rules import CompiledRule, NoValue, compile_rule

pytestmark = pytest.mark.unit
DATASET = DatasetInfo("a.b", "B", (Field("x", "X"),))
ODD: list[Any] = ["", " ", "abc", "abcd", "e\u0301", "\ud800", "true", "no", True, False, None, 0, 1, 2.5, Decimal(1), ["a"]]
PROPERTIES = [
    Property("p", "P", required=True),
    Property("p", "P", schema={"maxLength": 3}),
    Property("p", "P", schema={"maxLength": 3, "pattern": "^a"}),
    Property("p", "P", schema={"enum": ["abc"]}),
    Property("p", "P", Kind.BOOLEAN),
    Property("p", "P", Kind.BOOLEAN, schema={"const": True}),
]


def compiled(prop: Property) -> CompiledRule:
    return compile_rule(RuleContent("p", "x"), prop, DATASET, creates=True)


def long_way(prop: Property) -> CompiledRule:
    with mock.patch.object(rules, "_straight", lambda _name, _prop, _tests, value: value):
        return compiled(prop)


def outcome(rule: CompiledRule, value: object) -> tuple[str, object]:
    try:
        found = rule.value({"x": value})
    except NoValue as error:
        return "refused", error.problem
    return type(found).__name__, found


@pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: f"{prop.kind} {dict(prop.schema)}")
@given(value=st.sampled_from(ODD) | st.text(max_size=5) | st.booleans())
def test_the_short_way_gives_what_the_long_way_gives(prop: Property, value: object) -> None:
    assert outcome(compiled(prop), value) == outcome(long_way(prop), value)
