"""Associations: both directions, labels, limits and the differences between the versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

BATCH = "/crm/v4/associations/contacts/companies/batch"
PLAIN = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
PRIMARY = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


@pytest.fixture
def contact(sandbox: RunningSandbox) -> str:
    return sandbox.admin.seed("contacts", [{"email": "ada@example.com"}])[0]


@pytest.fixture
def companies(sandbox: RunningSandbox) -> list[str]:
    return sandbox.admin.seed("companies", [{"name": "A"}, {"name": "B"}])


def create(sandbox: RunningSandbox, start: str, end: str, *types: dict[str, Any], path: str = BATCH) -> requests.Response:
    inputs = [{"from": {"id": start}, "to": {"id": end}, "types": list(types)}]
    return sandbox.request("POST", f"{path}/create", {"inputs": inputs})


def types_of(sandbox: RunningSandbox, path: str) -> dict[int, list[int]]:
    results = sandbox.request("GET", path).json()["results"]
    return {each["toObjectId"]: [kind["typeId"] for kind in each["associationTypes"]] for each in results}


def test_a_created_association_shows_in_both_directions(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    answer = create(sandbox, contact, companies[0], PLAIN)
    assert answer.status_code == 201
    ends = {"fromObjectTypeId": "0-1", "fromObjectId": int(contact), "toObjectTypeId": "0-2", "toObjectId": int(companies[0])}
    assert answer.json()["results"] == [{**ends, "labels": []}]
    assert types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies") == {int(companies[0]): [279]}
    assert types_of(sandbox, f"/crm/v4/objects/company/{companies[0]}/associations/0-1") == {int(contact): [280]}


def test_a_company_counts_its_contacts(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    create(sandbox, contact, companies[0], PLAIN)
    shown = sandbox.request("GET", f"/crm/v3/objects/companies/{companies[0]}", properties="num_associated_contacts")
    assert shown.json()["properties"]["num_associated_contacts"] == "1"


def test_a_contact_has_one_primary_company(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    create(sandbox, contact, companies[0], PRIMARY)
    assert create(sandbox, contact, companies[1], PRIMARY).json()["results"][0]["labels"] == ["Primary"]
    held = types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies")
    assert held == {int(companies[0]): [279], int(companies[1]): [1, 279]}


def test_dated_versions_answer_200_where_v4_answers_201(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    path = "/crm/associations/2026-09/contacts/companies/batch"
    assert create(sandbox, contact, companies[0], PLAIN, path=path).status_code == 200
    inputs = {"inputs": [{"from": {"id": contact}, "to": [{"id": companies[0]}]}]}
    archived = sandbox.request("POST", f"{path}/archive", inputs)
    assert (archived.status_code, archived.json()["results"]) == (200, [])


def test_default_associations_name_both_directions_and_keep_labels(
    sandbox: RunningSandbox, contact: str, companies: list[str]
) -> None:
    create(sandbox, contact, companies[0], PRIMARY)
    inputs = {"inputs": [{"from": {"id": contact}, "to": {"id": companies[0]}}]}
    answer = sandbox.request("POST", f"{BATCH}/associate/default", inputs)
    assert answer.status_code == 200
    assert [each["associationSpec"]["associationTypeId"] for each in answer.json()["results"]] == [279, 280]
    held = types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies")
    assert held == {int(companies[0]): [1, 279]}


def test_bad_inputs_are_listed_and_the_rest_is_done(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    good = {"from": {"id": contact}, "to": {"id": companies[0]}, "types": [PLAIN]}
    odd = {"from": {"id": "unknown"}, "to": {"id": companies[0]}, "types": [PLAIN]}
    absent = {"from": {"id": contact}, "to": {"id": "5"}, "types": [PLAIN]}
    wrong = {"from": {"id": contact}, "to": {"id": companies[0]}, "types": [{**PLAIN, "associationTypeId": 280}]}
    answer = sandbox.request("POST", f"{BATCH}/create", {"inputs": [good, odd, absent, wrong]})
    body = answer.json()
    assert (answer.status_code, len(body["results"]), body["numErrors"]) == (207, 1, 3)
    assert body["errors"][0]["subCategory"] == "crm.associations.INVALID_IDENTIFIER"
    assert body["errors"][0]["message"] == "unknown is not a valid ID"


def test_a_record_is_not_associated_to_itself(sandbox: RunningSandbox, contact: str) -> None:
    answer = sandbox.request(
        "POST",
        "/crm/v4/associations/contacts/contacts/batch/associate/default",
        {"inputs": [{"from": {"id": contact}, "to": {"id": contact}}]},
    )
    assert answer.status_code == 207
    assert "cannot be associated to itself" in answer.json()["errors"][0]["message"]


def test_batch_read_and_archive(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    create(sandbox, contact, companies[0], PLAIN)
    read = sandbox.request("POST", f"{BATCH}/read", {"inputs": [{"id": contact}]})
    assert read.status_code == 200
    (found,) = read.json()["results"]
    assert found["from"] == {"id": contact}
    assert [each["toObjectId"] for each in found["to"]] == [int(companies[0])]
    archived = {"inputs": [{"from": {"id": contact}, "to": [{"id": companies[0]}]}]}
    assert sandbox.request("POST", f"{BATCH}/archive", archived).status_code == 204
    assert sandbox.request("POST", f"{BATCH}/read", {"inputs": [{"id": contact}]}).status_code == 207


def test_limits_of_inputs(sandbox: RunningSandbox) -> None:
    one = {"from": {"id": "1"}, "to": {"id": "2"}, "types": [PLAIN]}
    assert sandbox.request("POST", f"{BATCH}/create", {"inputs": [one] * 2_001}).status_code == 400
    assert sandbox.request("POST", f"{BATCH}/create", {"inputs": [one] * 2_000}).status_code == 207
    assert sandbox.request("POST", f"{BATCH}/read", {"inputs": [{"id": "1"}] * 1_001}).status_code == 400


def test_single_calls(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    base = f"/crm/v4/objects/contacts/{contact}/associations"
    assert sandbox.request("PUT", f"{base}/default/companies/{companies[0]}").status_code == 200
    labelled = sandbox.request("PUT", f"{base}/companies/{companies[1]}", [PRIMARY])
    assert (labelled.status_code, labelled.json()["labels"]) == (201, ["Primary"])
    assert set(types_of(sandbox, f"{base}/companies")) == {int(each) for each in companies}
    assert sandbox.request("DELETE", f"{base}/companies/{companies[0]}").status_code == 204
    assert set(types_of(sandbox, f"{base}/companies")) == {int(companies[1])}
    assert sandbox.request("PUT", f"{base}/default/companies/5").status_code == 400


def test_own_labels(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    path = "/crm/v4/associations/contacts/companies/labels"
    made = sandbox.request("POST", path, {"name": "adviser", "label": "Adviser", "inverseLabel": "Advised by"}).json()["results"]
    assert [each["label"] for each in made] == ["Adviser", "Advised by"]
    listed = sandbox.request("GET", path).json()["results"]
    assert [(each["typeId"], each["label"]) for each in listed][:2] == [(279, None), (1, "Primary")]
    spec = {"associationCategory": "USER_DEFINED", "associationTypeId": made[0]["typeId"]}
    assert create(sandbox, contact, companies[0], spec).json()["results"][0]["labels"] == ["Adviser"]
    gone = {"inputs": [{"from": {"id": contact}, "to": {"id": companies[0]}, "types": [spec]}]}
    assert sandbox.request("POST", f"{BATCH}/labels/archive", gone).status_code == 204
    held = types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies")
    assert held == {int(companies[0]): [279]}


def test_a_merge_takes_associations_along_and_the_old_id_answers_none(
    sandbox: RunningSandbox, contact: str, companies: list[str]
) -> None:
    create(sandbox, contact, companies[0], PLAIN)
    new = sandbox.admin.merge("companies", companies[0], into=companies[1])
    assert types_of(sandbox, f"/crm/v4/objects/companies/{companies[0]}/associations/contacts") == {}
    assert types_of(sandbox, f"/crm/v4/objects/companies/{new}/associations/contacts") == {int(contact): [280]}


def test_records_show_their_associations_in_lists(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    create(sandbox, contact, companies[0], PRIMARY)
    (shown,) = sandbox.request("GET", "/crm/v3/objects/contacts", associations="companies").json()["results"]
    assert {each["id"] for each in shown["associations"]["companies"]["results"]} == {companies[0]}
    assert "contact_to_company" in {each["type"] for each in shown["associations"]["companies"]["results"]}


def test_an_archived_record_loses_its_associations(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    create(sandbox, contact, companies[0], PLAIN)
    sandbox.request("DELETE", f"/crm/v3/objects/companies/{companies[0]}")
    assert types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies") == {}


def test_the_older_version_answers_both_directions(sandbox: RunningSandbox, contact: str, companies: list[str]) -> None:
    path = "/crm/v3/associations/contacts/companies/batch"
    pair = {"from": {"id": contact}, "to": {"id": companies[0]}, "type": "contact_to_company"}
    made = sandbox.request("POST", f"{path}/create", {"inputs": [pair]})
    assert (made.status_code, [each["type"] for each in made.json()["results"]]) == (
        201,
        ["company_to_contact", "contact_to_company"],
    )
    read = sandbox.request("POST", f"{path}/read", {"inputs": [{"id": contact}]}).json()["results"]
    assert read == [{"from": {"id": contact}, "to": [{"id": companies[0], "type": "contact_to_company"}]}]
    wrong = sandbox.request("POST", f"{path}/create", {"inputs": [{**pair, "type": "company_to_deal"}]})
    assert (wrong.status_code, wrong.json()["results"]) == (207, [])
    assert sandbox.request("POST", f"{path}/archive", {"inputs": [pair]}).status_code == 204
    assert types_of(sandbox, f"/crm/v4/objects/contacts/{contact}/associations/companies") == {}
