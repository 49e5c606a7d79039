"""Properties, groups, custom objects, owners, pipelines and the account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from syncline_hubspot.sandbox.definitions import default_definitions
from syncline_hubspot.sandbox.process import RunningSandbox
from syncline_hubspot.sandbox.properties import _FIELD_TYPES

PROPERTIES = "/crm/v3/properties/companies"
NEW = {"name": "raised", "label": "Raised", "type": "number", "fieldType": "number", "groupName": "companyinformation"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


@pytest.mark.parametrize(("object_type", "least"), [("companies", 60), ("contacts", 60), ("deals", 40)])
def test_default_definitions_are_whole(sandbox: RunningSandbox, object_type: str, least: int) -> None:
    listed = sandbox.request("GET", f"/crm/v3/properties/{object_type}").json()["results"]
    assert len(listed) >= least
    assert len({each["name"] for each in listed}) == len(listed)
    for each in listed:
        assert each["modificationMetadata"]["readOnlyDefinition"] is True
        assert each["label"]
        choices = each["type"] in ("enumeration", "bool")
        assert bool(each["options"]) == (choices and not each["externalOptions"]), each["name"]


def test_metadata_traps_of_the_real_account() -> None:
    contacts = {each["name"]: each for each in default_definitions("contacts")}
    companies = {each["name"]: each for each in default_definitions("companies")}
    assert contacts["email"]["hasUniqueValue"] is False
    assert companies["domain"]["hasUniqueValue"] is False
    assert companies["hs_unique_creation_key"]["hasUniqueValue"] is True
    writable = {name for name, each in companies.items() if not each["modificationMetadata"]["readOnlyValue"]}
    assert {"hs_additional_domains", "hubspot_owner_id", "numberofemployees"} <= writable
    assert writable.isdisjoint({"hs_object_id", "createdate", "hs_createdate", "hs_lastmodifieddate", "hs_merged_object_ids"})


def test_a_property_s_life(sandbox: RunningSandbox) -> None:
    made = sandbox.request("POST", PROPERTIES, NEW)
    assert made.status_code == 201
    assert made.json()["modificationMetadata"] == {"archivable": True, "readOnlyDefinition": False, "readOnlyValue": False}
    assert (made.json()["displayOrder"], made.json()["hasUniqueValue"], made.json()["calculated"]) == (-1, False, False)
    path = f"{PROPERTIES}/raised"
    assert sandbox.request("GET", path).json() == made.json()
    assert sandbox.request("PATCH", path, {"label": "Money raised"}).json()["label"] == "Money raised"
    (held,) = sandbox.admin.seed("companies", [{"name": "A", "raised": 5}])
    assert sandbox.request("DELETE", path).status_code == 204
    assert sandbox.request("GET", path).status_code == 404
    assert "raised" not in sandbox.admin.dump("companies", ids=held)[0]["properties"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "With Space"},
        {"label": None},
        {"fieldType": "text"},
        {"type": "money"},
        {"groupName": "nowhere"},
    ],
)
def test_bad_definitions_are_refused(sandbox: RunningSandbox, change: dict[str, Any]) -> None:
    answer = sandbox.request("POST", PROPERTIES, {**NEW, **change})
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("kind", "field_type"), [(kind, field) for kind, fields in _FIELD_TYPES.items() for field in sorted(fields)]
)
def test_every_field_type_of_every_type_can_be_created(sandbox: RunningSandbox, kind: str, field_type: str) -> None:
    given = {**NEW, "name": "it", "type": kind, "fieldType": field_type, "options": [{"label": "A", "value": "a"}]}
    assert sandbox.request("POST", PROPERTIES, given).status_code == 201


def test_an_existing_name_is_a_conflict(sandbox: RunningSandbox) -> None:
    answer = sandbox.request("POST", PROPERTIES, {**NEW, "name": "domain"})
    assert (answer.status_code, answer.json()["category"]) == (409, "OBJECT_ALREADY_EXISTS")


@pytest.mark.parametrize(("path", "code"), [(PROPERTIES, 201), ("/crm/properties/2026-09/companies", 200)])
def test_batch_create_creates_what_it_can(sandbox: RunningSandbox, path: str, code: int) -> None:
    assert sandbox.request("POST", f"{path}/batch/create", {"inputs": [{**NEW, "name": "first"}]}).status_code == code
    answer = sandbox.request("POST", f"{path}/batch/create", {"inputs": [NEW, {**NEW, "name": "domain"}]})
    body = answer.json()
    assert (answer.status_code, [each["name"] for each in body["results"]]) == (207, ["raised"])
    error = body["errors"][0]
    assert (error["category"], error["subCategory"]) == ("OBJECT_ALREADY_EXISTS", "Properties.PROPERTY_WITH_NAME_EXISTS")
    assert (error["message"], error["context"]) == ("A property named 'domain' already exists.", {"name": ["domain"]})


def test_batch_read_and_archive(sandbox: RunningSandbox) -> None:
    sandbox.request("POST", PROPERTIES, NEW)
    read = sandbox.request("POST", f"{PROPERTIES}/batch/read", {"inputs": [{"name": "raised"}, {"name": "none"}]})
    assert (read.status_code, [each["name"] for each in read.json()["results"]]) == (207, ["raised"])
    assert sandbox.request("POST", f"{PROPERTIES}/batch/archive", {"inputs": [{"name": "raised"}]}).status_code == 204
    assert sandbox.request("GET", f"{PROPERTIES}/raised").status_code == 404


def test_built_in_properties_are_not_archived(sandbox: RunningSandbox) -> None:
    assert sandbox.request("DELETE", f"{PROPERTIES}/domain").status_code == 400


def test_ten_unique_properties_are_the_most(sandbox: RunningSandbox) -> None:
    made = [sandbox.request("POST", PROPERTIES, {**NEW, "name": f"u{n}", "hasUniqueValue": True}).status_code for n in range(11)]
    assert made == [201] * 10 + [400]


def test_groups(sandbox: RunningSandbox) -> None:
    path = f"{PROPERTIES}/groups"
    assert sandbox.request("POST", path, {"name": "ours", "label": "Ours"}).status_code == 201
    assert sandbox.request("POST", path, {"name": "ours", "label": "Ours"}).status_code == 409
    assert sandbox.request("POST", PROPERTIES, {**NEW, "groupName": "ours"}).status_code == 201
    assert {"ours", "companyinformation"} <= {each["name"] for each in sandbox.request("GET", path).json()["results"]}
    assert sandbox.request("DELETE", f"{path}/ours").status_code == 400
    sandbox.request("DELETE", f"{PROPERTIES}/raised")
    assert sandbox.request("DELETE", f"{path}/ours").status_code == 204
    assert sandbox.request("GET", f"{path}/ours").status_code == 404


def test_the_admin_api_removes_properties_and_options(sandbox: RunningSandbox) -> None:
    sandbox.admin.delete_property("companies", "city")
    refused = sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A", "city": "Leeds"}})
    assert refused.json()["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    left = sandbox.admin.patch_property("companies", "type", {"remove_options": ["VENDOR"]})["options"]
    assert "VENDOR" not in {each["value"] for each in left}
    refused = sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A", "type": "VENDOR"}})
    assert refused.json()["errors"][0]["code"] == "INVALID_OPTION"


def test_custom_objects(sandbox: RunningSandbox) -> None:
    assert sandbox.request("GET", "/crm/v3/schemas").json() == {"results": []}
    given = {
        "name": "cars",
        "labels": {"singular": "Car", "plural": "Cars"},
        "requiredProperties": ["plate"],
        "properties": [{"name": "plate", "label": "Plate", "type": "string", "fieldType": "text", "hasUniqueValue": True}],
        "associatedObjects": ["CONTACT"],
    }
    made = sandbox.request("POST", "/crm/v3/schemas", given)
    assert made.status_code == 201
    type_id = made.json()["objectTypeId"]
    assert type_id.startswith("2-")
    assert sandbox.request("POST", "/crm/v3/schemas", given).status_code == 409
    assert [each["name"] for each in sandbox.request("GET", "/crm/v3/schemas").json()["results"]] == ["cars"]
    car = sandbox.request("POST", f"/crm/v3/objects/{type_id}", {"properties": {"plate": "AB12"}})
    assert car.status_code == 201
    assert sandbox.request("POST", "/crm/v3/objects/cars", {"properties": {}}).status_code == 400
    upsert = {"inputs": [{"id": "ab12", "idProperty": "plate", "properties": {}}]}
    again = sandbox.request("POST", f"/crm/v3/objects/{made.json()['fullyQualifiedName']}/batch/upsert", upsert)
    assert [(each["id"], each["new"]) for each in again.json()["results"]] == [(car.json()["id"], False)]
    (contact,) = sandbox.admin.seed("contacts", [{"email": "a@example.com"}])
    linked = sandbox.request("PUT", f"/crm/v4/objects/{type_id}/{car.json()['id']}/associations/default/contacts/{contact}")
    assert linked.status_code == 200
    assert sandbox.request("DELETE", f"/crm/v3/schemas/{type_id}").status_code == 400


def test_owners(sandbox: RunningSandbox) -> None:
    page = sandbox.request("GET", "/crm/v3/owners", limit=2).json()
    rest = sandbox.request("GET", "/crm/v3/owners", limit=2, after=page["paging"]["next"]["after"]).json()
    owners = page["results"] + rest["results"]
    assert len(owners) == 3
    assert len({each["id"] for each in owners}) == 3
    first = owners[0]
    assert sandbox.request("GET", f"/crm/v3/owners/{first['id']}").json() == first
    assert sandbox.request("GET", f"/crm/v3/owners/{first['userId']}", idProperty="userId").json() == first
    assert sandbox.request("GET", "/crm/v3/owners", email=first["email"]).json()["results"] == [first]
    assert sandbox.request("GET", "/crm/v3/owners/1").status_code == 404
    given = {"properties": {"name": "A", "hubspot_owner_id": first["id"]}}
    assert sandbox.request("POST", "/crm/v3/objects/companies", given).status_code == 201


def test_pipelines(sandbox: RunningSandbox) -> None:
    (pipeline,) = sandbox.request("GET", "/crm/v3/pipelines/deals").json()["results"]
    assert (pipeline["id"], len(pipeline["stages"])) == ("default", 7)
    stages = sandbox.request("GET", "/crm/pipelines/2026-09/0-3/default/stages").json()["results"]
    assert stages == pipeline["stages"]
    deal = {"dealname": "Big", "dealstage": "closedwon", "amount": 100.5}
    made = sandbox.request("POST", "/crm/v3/objects/deals", {"properties": deal}).json()["properties"]
    assert (made["pipeline"], made["amount"]) == ("default", "100.5")
    wrong = sandbox.request("POST", "/crm/v3/objects/deals", {"properties": {**deal, "dealstage": "nowhere"}})
    assert wrong.json()["errors"][0]["code"] == "INVALID_OPTION"


def test_account(sandbox: RunningSandbox) -> None:
    assert sandbox.request("GET", "/account-info/v3/details").json()["portalId"] == 147_000_001
    (usage,) = sandbox.request("GET", "/account-info/v3/api-usage/daily/private-apps").json()["results"]
    assert usage["usageLimit"] == 625_000
    assert usage["resetsAt"] > usage["collectedAt"]


def test_accounts_are_apart(sandbox: RunningSandbox) -> None:
    token = sandbox.admin.issue_token(portal=7)
    sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A"}}, token=token)
    assert sandbox.admin.dump("companies") == []
    assert len(sandbox.admin.dump("companies", portal=7)) == 1
    assert sandbox.request("GET", "/account-info/v3/details", token=token).json()["portalId"] == 7
