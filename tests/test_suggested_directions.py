"""What is suggested for HubSpot can be published as it is, whichever way the sync goes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from syncline.contract import FreeBudget, HeaderAuth, Http, ObjectType, Session
from syncline.syncs.engine import MappingContent, RuleContent, check_mapping
from syncline.syncs.engine.drift import compile_published
from syncline.syncs.engine.suggest import suited
from syncline_companies.datasets import DATASETS
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.sandbox.process import RunningSandbox

PAIRS = dict(zip(("companies", "contacts", "deals"), DATASETS, strict=True))


@pytest.fixture(scope="module")
def objects() -> Iterator[Mapping[str, ObjectType]]:
    with RunningSandbox(limits=False) as sandbox:
        http = Http(hosts=("127.0.0.1",), auth=HeaderAuth({"Authorization": f"Bearer {sandbox.token}"}), budget=FreeBudget())
        session = Session(
            {"api_url": sandbox.url, "api_version": "2026-09", "own_key": True}, http, "test", logging.getLogger("test.suggested")
        )
        yield {found.key: found for found in HubSpot().discover(session=session)}


def content(key: str, found: ObjectType, direction: str) -> MappingContent:
    suggested = suited(HubSpot().suggest_mapping(PAIRS[key].info, found), PAIRS[key].info, found, direction)
    rules = tuple(
        RuleContent(r.target, r.source, r.expression, r.association, r.transforms, r.write_mode, r.null_policy, r.owner)
        for r in suggested.rules
    )
    return MappingContent(rules, suggested.match, direction=direction)


@pytest.mark.parametrize(("direction", "created"), [("push", True), ("pull", False), ("pull", True), ("two_way", True)])
@pytest.mark.parametrize("key", PAIRS)
def test_it_has_no_problems(objects: Mapping[str, ObjectType], key: str, direction: str, created: bool) -> None:
    """`created`: whether the account has the properties that pushes need; a pull does without."""
    found, info = objects[key], PAIRS[key].info
    if created:
        found = replace(found, properties=(*found.properties, *HubSpot().suggest_mapping(info, found).create))
    assert check_mapping(content(key, found, direction), info, found) == ()


def test_companies_are_pulled_and_found_again_without_any_property_of_ours(objects: Mapping[str, ObjectType]) -> None:
    found = objects["companies"]
    pulled = content("companies", found, "pull")
    assert {rule.source: rule.target for rule in pulled.rules} == {
        "name": "name", "website": "website", "description": "description", "country_name": "country"
    }  # fmt: skip
    assert [step.property for step in pulled.match.steps] == ["website", "name"]
    assert set(pulled.match.steps[0].also) == {"domain", "hs_additional_domains"}


def test_a_gender_comes_back_as_its_letter_and_an_unknown_one_as_none(objects: Mapping[str, ObjectType]) -> None:
    found, info = objects["contacts"], PAIRS["contacts"].info
    inbound = compile_published(content("contacts", found, "pull"), info, found, {}).inbound
    assert inbound
    genders = [inbound.map({"gender": gender, "firstname": " Ann "}).properties for gender in ("Female", "other words")]
    assert [(one["gender"], one["first_name"]) for one in genders] == [("F", "Ann"), (None, "Ann")]


def test_what_both_sides_may_change(objects: Mapping[str, ObjectType]) -> None:
    owners = {rule.target: rule.owner for rule in content("contacts", objects["contacts"], "two_way").rules}
    assert owners == {
        "email": "review", "firstname": "review", "lastname": "review", "jobtitle": "review", "gender": "here",
        "phone": "review", "companies": "newest",
    }  # fmt: skip
    owners = {rule.target: rule.owner for rule in content("companies", objects["companies"], "two_way").rules}
    assert {name for name, owner in owners.items() if owner != "here"} == {
        "name", "website", "description", "country", "companies_house_number"
    }  # fmt: skip
