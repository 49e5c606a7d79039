"""The history of what an account offers, and what of it touches a mapping: pure parts and their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.catalog import service
from syncline.contract import AssociationType, Choice, DatasetInfo, Field, Kind, MatchRule, MatchStep, ObjectType, Op, Property
from syncline.models import CatalogChange, Connection
from syncline.syncs.engine import MappingContent, MappingInvalid, RuleContent, plan_write
from syncline.syncs.engine.drift import compile_published, definitions, drifted
from syncline.syncs.engine.threeway import UNSURE


def choices(*values: str) -> tuple[Choice, ...]:
    return tuple(Choice(value, value.title()) for value in values)


SIZE = Property("size", "Size", Kind.CHOICE, choices=choices("s", "m", "l"))
THINGS = ObjectType("things", "Things", (Property("name", "Name"), SIZE), {Op.UPSERT: 10})


def with_(*properties: Property, **more: Any) -> ObjectType:
    return replace(THINGS, properties=properties, **more)


class Account:
    """Discoveries of one connection, one after the other."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def offers(self, *found: ObjectType) -> list[tuple[str, str, bool]]:
        """The whole history after this discovery: property (or object), what, whether settled; oldest first."""
        service._store(self.connection, {one.key: one for one in found}, service.now())
        rows = CatalogChange.objects.order_by("id")
        return [(row.property or f"({row.object_type})", row.aspect, row.settled_at is not None) for row in rows]


@pytest.fixture
def account(vendor: Any, db: None) -> Account:
    owner = User.objects.create_user("ann")
    return Account(Connection.objects.create(connector="toy", name="c", owner=owner, settings={"url": vendor.url}))


def test_the_first_discovery_is_no_change_and_more_records_are_none(account: Account) -> None:
    assert account.offers(THINGS) == []
    assert account.offers(replace(THINGS, count=9)) == []


def test_what_comes_back_settles_what_went(account: Account) -> None:
    account.offers(THINGS)
    assert account.offers(with_(SIZE)) == [("name", "removed", False)]
    assert account.offers(THINGS) == [("name", "removed", True)]
    assert account.offers(with_(SIZE))[1:] == [("name", "removed", False)]
    another = Property("name", "Name", Kind.NUMBER)
    assert account.offers(with_(another, SIZE))[1:] == [("name", "removed", True), ("name", "kind", False)]
    assert account.offers(THINGS)[2:] == [("name", "kind", True)]


def test_steps_there_and_back_are_settled_together(account: Account) -> None:
    account.offers(THINGS)
    account.offers(with_(Property("name", "Name", Kind.NUMBER), SIZE))
    account.offers(with_(Property("name", "Name", Kind.DATE), SIZE))
    assert account.offers(with_(Property("name", "Name", Kind.NUMBER), SIZE)) == [("name", "kind", False), ("name", "kind", True)]
    assert account.offers(THINGS) == [("name", "kind", True), ("name", "kind", True)]


def test_choices_are_told_by_value_and_settled_when_all_are_as_before(account: Account) -> None:
    name = Property("name", "Name")
    account.offers(THINGS)
    assert account.offers(with_(name, replace(SIZE, choices=choices("l")))) == [("size", "choices", False)]
    row = CatalogChange.objects.get()
    assert [one["value"] for one in (row.before or {})["choices"]] == ["s", "m"]
    assert row.after == {"choices": []}
    assert account.offers(with_(name, replace(SIZE, choices=choices("l", "s")))) == [
        ("size", "choices", False),
        ("size", "choices", False),
    ]
    assert account.offers(THINGS) == [("size", "choices", True), ("size", "choices", True)]
    relabelled = replace(SIZE, choices=(Choice("s", "Tiny"), *SIZE.choices[1:]))
    assert account.offers(with_(name, relabelled))[2:] == [("size", "other", False)]


def test_objects_that_go_and_come_are_told(account: Account) -> None:
    other = replace(THINGS, key="other", title="Other")
    account.offers(THINGS, other)
    assert account.offers(THINGS) == [("(other)", "removed", False)]
    assert account.offers(THINGS, replace(other, properties=(SIZE,))) == [
        ("(other)", "removed", True),
        ("name", "removed", False),
    ]
    assert account.offers(THINGS, other, replace(THINGS, key="new"))[1:] == [("name", "removed", True), ("(new)", "added", False)]


def test_read_only_and_required_are_told_each(account: Account) -> None:
    account.offers(THINGS)
    assert account.offers(with_(Property("name", "Title", read_only=True, required=True), SIZE)) == [
        ("name", "read_only", False),
        ("name", "required", False),
        ("name", "other", False),
    ]


# what touches a mapping

DATASET = DatasetInfo(
    "test.thing",
    "Things",
    (
        Field("name", "Name"),
        Field("size", "Size"),
        Field("small", "Size, of two", Kind.CHOICE, choices=choices("s", "m")),
        Field("others", "Others", Kind.REFERENCE, reference="test.thing", many=True),
    ),
)


def content(*rules: RuleContent, match: str = "") -> MappingContent:
    return MappingContent(rules, MatchRule((MatchStep(match),) if match else ()))


NAME, BY_TEXT, BY_TWO = RuleContent("name", "name"), RuleContent("size", "size"), RuleContent("size", "small")


def found(rule: RuleContent, now: ObjectType, before: ObjectType = THINGS) -> list[tuple[str, str]]:
    said = content(NAME, rule) if rule.target != "name" else content(rule)
    return [(one.target, one.aspect) for one in drifted(said, DATASET, now, definitions(said, before))]


@pytest.mark.unit
def test_a_choice_that_a_rule_cannot_give_is_no_change_for_it() -> None:
    without_l = with_(Property("name", "Name"), replace(SIZE, choices=choices("s", "m")))

    assert found(BY_TWO, without_l) == []
    assert found(BY_TEXT, without_l) == [("size", "choices")]
    mapped = replace(BY_TWO, transforms=({"name": "choice_map", "map": {"s": "l"}},))
    assert found(mapped, without_l) == [("size", "choices")]
    assert found(BY_TWO, with_(Property("name", "Name"), replace(SIZE, choices=choices("s")))) == [("size", "choices")]


@pytest.mark.unit
def test_labels_more_choices_and_requirements_are_no_change() -> None:
    now = with_(
        Property("name", "Called", required=True),
        replace(SIZE, choices=choices("s", "m", "l", "xl")),
        Property("must", "Must", required=True),
    )
    assert found(BY_TEXT, now) == []
    assert compile_published(content(NAME), DATASET, now, definitions(content(NAME), THINGS)).suspended == ()


@pytest.mark.unit
def test_associations_are_suspended_too_and_a_match_step_stops() -> None:
    linked = replace(THINGS, associations=(AssociationType("things"),))
    rule = RuleContent("things", "others", association=True)
    said = content(NAME, rule)
    assert [one.target for one in compile_published(said, DATASET, THINGS, definitions(said, linked)).suspended] == ["things"]

    said = content(NAME, BY_TEXT, match="size")
    fewer = with_(Property("name", "Name"), replace(SIZE, choices=choices("s")))
    with pytest.raises(MappingInvalid, match="no longer has the choices l, m"):
        compile_published(said, DATASET, fewer, definitions(said, THINGS))


@pytest.mark.unit
def test_all_choices_gone_hold_every_value_back() -> None:
    """Without known choices an account says that it takes any text; what was a choice is not sent blindly."""
    said = content(NAME, BY_TEXT)
    now = with_(Property("name", "Name"), replace(SIZE, choices=()))
    compiled = compile_published(said, DATASET, now, definitions(said, THINGS))

    mapped = compiled.map({"name": "n", "size": "m"})
    assert (mapped.properties, [one.target for one in mapped.held], mapped.problems) == ({"name": "n"}, ["size"], ())
    assert compiled.map({"name": "n", "size": "new"}).properties == {"name": "n", "size": "new"}


@pytest.mark.unit
def test_what_was_delivered_to_a_suspended_field_is_unsure_until_it_was_looked_at() -> None:
    said = content(NAME, BY_TEXT)
    before = definitions(said, THINGS)
    lost = compile_published(said, DATASET, with_(Property("name", "Name")), before)
    whole = compile_published(said, DATASET, THINGS, before)
    row = {"name": "n", "size": "m"}
    delivered = plan_write(whole, whole.map(row), None, creating=True, remote=None).settled

    kept = plan_write(lost, lost.map(row), delivered, creating=False, remote=None)
    assert (kept.properties, kept.settled) == ({}, {**delivered, "size": UNSURE})
    fresh = plan_write(lost, lost.map(row), {"name": delivered["name"]}, creating=False, remote=None)
    assert fresh.settled == {"name": delivered["name"]}

    asking = plan_write(whole, whole.map(row), kept.settled, creating=False, remote=None)
    assert (asking.properties, asking.needs_remote) == ({}, frozenset({"size"}))
    same = plan_write(whole, whole.map(row), kept.settled, creating=False, remote={"size": "m"})
    assert (same.properties, same.settled) == ({}, delivered)
    other = plan_write(whole, whole.map(row), kept.settled, creating=False, remote={"size": "s"})
    assert (other.properties, other.settled) == ({"size": "m"}, delivered)
