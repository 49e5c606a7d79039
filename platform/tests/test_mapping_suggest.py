"""A suggestion fits the direction of its sync: a pull leaves out what cannot be read backwards, what cannot be shared is ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from syncline.contract import (
    AssociationType,
    DatasetInfo,
    Field,
    Kind,
    MatchRule,
    MatchStep,
    ObjectType,
    Property,
    SuggestedMapping,
    SuggestedRule,
)
from syncline.syncs.engine.suggest import backwards, suited

pytestmark = pytest.mark.unit

DATASET = DatasetInfo(
    "register.firm",
    "Firms",
    (
        Field("name", "Name", writable=True),
        Field("site", "Site", writable=True),
        Field("total", "Total", Kind.NUMBER),
        Field("parents", "Parents", Kind.REFERENCE, "register.firm", many=True, writable=True),
    ),
)
OBJECT = ObjectType(
    "firms",
    "Firms",
    tuple(Property(name, name) for name in ("name", "host", "url", "other_hosts", "total")),
    {},
    associations=(AssociationType("firms"),),
)
TRIM: dict[str, Any] = {"name": "trim"}
DOMAIN: dict[str, Any] = {"name": "domain"}
SUGGESTED = SuggestedMapping(
    (
        SuggestedRule("name", "name", transforms=(TRIM,), owner="review"),
        SuggestedRule("host", "site", transforms=(DOMAIN,), owner="newest"),
        SuggestedRule("url", "site", transforms=(TRIM,), owner="newest"),
        SuggestedRule("total", "total", owner="there"),
        SuggestedRule("stage", expression='"won"', owner="there"),
        SuggestedRule("new_one", "name", owner="newest"),
        SuggestedRule("firms", "parents", association=True, owner="newest"),
    ),
    MatchRule((MatchStep("host", ("other_hosts", "url"), "domain"), MatchStep("new_one"), MatchStep("total"))),
    create=(Property("new_one", "New one"),),
)


def suit(direction: str, *rules: SuggestedRule) -> SuggestedMapping:
    return suited(SuggestedMapping(rules) if rules else SUGGESTED, DATASET, OBJECT, direction)


def test_a_push_takes_it_as_it_is_and_decides_everything_here() -> None:
    pushed = suit("push")
    assert {rule.owner for rule in pushed.rules} == {"here"}
    assert replace(pushed, rules=SUGGESTED.rules) == SUGGESTED
    assert [replace(rule, owner="") for rule in pushed.rules] == [replace(rule, owner="") for rule in SUGGESTED.rules]


def test_a_pull_takes_each_writable_field_once_and_nothing_that_is_not_there() -> None:
    pulled = suit("pull")
    assert [(rule.source, rule.target, rule.owner) for rule in pulled.rules] == [
        ("name", "name", "there"),
        ("site", "url", "there"),
        ("parents", "firms", "there"),
    ]
    assert pulled.create == ()


def test_a_pull_goes_on_matching_by_another_rule_of_the_same_field() -> None:
    by_site, by_name = suit("pull").match.steps
    assert by_site == MatchStep("url", ("host", "other_hosts"), "domain")
    assert (by_name.property, by_name.also) == ("name", ())


def test_two_ways_share_what_needs_no_transform_and_the_rest_is_decided_here() -> None:
    both = suit("two_way")
    assert [(rule.target, rule.owner, rule.transforms) for rule in both.rules] == [
        ("name", "review", ()),
        ("host", "here", (DOMAIN,)),
        ("url", "newest", ()),
        ("total", "here", ()),
        ("stage", "here", ()),
        ("new_one", "here", ()),
        ("firms", "newest", ()),
    ]
    assert (both.match, both.create) == (SUGGESTED.match, SUGGESTED.create)


def test_two_ways_read_backwards_what_belongs_there() -> None:
    table = {"name": "choice_map", "map": {"a": "b"}}
    (rule,) = suit("two_way", SuggestedRule("name", "name", transforms=(table,), owner="there")).rules
    assert (rule.owner, rule.transforms) == ("there", ({"name": "choice_map", "map": {"b": "a"}},))
    (rule,) = suit("two_way", SuggestedRule("name", "name", transforms=(DOMAIN,), owner="there")).rules
    assert (rule.owner, rule.transforms) == ("here", (DOMAIN,))


def test_what_adds_to_a_set_is_not_pulled() -> None:
    adding = SuggestedRule("name", "name", write_mode="append", owner="there")
    assert suit("pull", adding).rules == ()
    assert suit("two_way", adding).rules[0].owner == "here"


@pytest.mark.parametrize(
    ("steps", "undone"),
    [
        ((), ()),
        (({"name": "trim"}, {"name": "upper"}), ({"name": "upper"}, {"name": "trim"})),
        (({"name": "choice_map", "map": {"M": "Male"}},), ({"name": "choice_map", "map": {"Male": "M"}},)),
        (({"name": "choice_map", "map": {"M": "x", "F": "x"}},), None),
        (({"name": "choice_map", "map": {"M": 1}},), None),
        (({"name": "choice_map", "map": {"M": "x"}, "default": "y"},), None),
        (({"name": "trim"}, {"name": "prefix", "text": "a"}), None),
    ],
)
def test_transforms_are_undone_in_reverse_or_not_at_all(steps: Any, undone: Any) -> None:
    assert backwards(SuggestedRule("a", "b", transforms=steps)) == undone


def test_a_choice_without_counterpart_counts_as_empty_where_nothing_clears() -> None:
    table = {"name": "choice_map", "map": {"M": "Male"}}
    assert backwards(SuggestedRule("a", "b", transforms=(table,), null_policy="skip")) == (
        {"name": "choice_map", "map": {"Male": "M"}, "default": None},
    )
