"""Single records and lists: codes, shapes and what HubSpot adds by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from syncline_hubspot.sandbox.process import RunningSandbox

COMPANIES = "/crm/v3/objects/companies"
CONTACTS = "/crm/v3/objects/contacts"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


def created(sandbox: RunningSandbox, path: str = COMPANIES, **properties: Any) -> dict[str, Any]:
    answer = sandbox.request("POST", path, {"properties": properties})
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def codes(answer: Any) -> list[str]:
    return [each["code"] for each in answer.json()["errors"]]


@pytest.mark.parametrize("prefix", ["/crm/v3/objects", "/crm/objects/2026-03", "/crm/objects/2026-09"])
@pytest.mark.parametrize("name", ["companies", "company", "COMPANY", "0-2"])
def test_every_version_and_alias_reaches_the_same_records(sandbox: RunningSandbox, prefix: str, name: str) -> None:
    record = created(sandbox, name="Acme")
    answer = sandbox.request("GET", f"{prefix}/{name}/{record['id']}", properties="name")
    assert answer.json()["properties"]["name"] == "Acme"


def test_an_unknown_type_is_named_and_has_no_category(sandbox: RunningSandbox) -> None:
    answer = sandbox.request("GET", "/crm/v3/objects/butterflies")
    assert answer.status_code == 400
    assert answer.json()["message"] == "Unable to infer object type from: butterflies"
    assert "category" not in answer.json()


def test_codes_of_a_record_s_life(sandbox: RunningSandbox) -> None:
    path = f"{COMPANIES}/{created(sandbox, name='Acme')['id']}"
    assert sandbox.request("GET", path).status_code == 200
    assert sandbox.request("PATCH", path, {"properties": {"city": "Leeds"}}).status_code == 200
    archived = sandbox.request("DELETE", path)
    assert (archived.status_code, archived.content) == (204, b"")
    assert sandbox.request("GET", path).status_code == 404
    assert sandbox.request("GET", path, archived="true").json()["archived"] is True


def test_a_single_get_that_finds_nothing_is_html_and_a_patch_json(sandbox: RunningSandbox) -> None:
    got = sandbox.request("GET", f"{COMPANIES}/1")
    assert (got.status_code, got.headers["X-HubSpot-NotFound"]) == (404, "true")
    assert got.headers["Content-Type"].startswith("text/html")
    patched = sandbox.request("PATCH", f"{COMPANIES}/1", {"properties": {"name": "x"}})
    assert (patched.status_code, patched.json()["message"]) == (404, "resource not found")


def test_a_create_answers_what_was_written_and_what_hubspot_adds(sandbox: RunningSandbox) -> None:
    record = created(sandbox, name="Acme", domain="acme.example", numberofemployees=12, is_public=True)
    properties = record["properties"]
    assert properties["website"] == "acme.example"
    assert properties["numberofemployees"] == "12"
    assert properties["is_public"] == "true"
    assert properties["lifecyclestage"] == "lead"
    assert properties["hs_object_source"] == "INTEGRATION"
    assert properties["hs_object_id"] == record["id"]
    assert len(record["id"]) in (11, 12)
    assert record["url"].endswith(f"/record/0-2/{record['id']}")


def test_writing_a_domain_leaves_a_website_that_is_there(sandbox: RunningSandbox) -> None:
    record = created(sandbox, domain="acme.example", website="https://other.example")
    assert record["properties"]["website"] == "https://other.example"


def test_companies_may_share_a_domain_but_contacts_no_email(sandbox: RunningSandbox) -> None:
    assert created(sandbox, domain="a.example")["id"] != created(sandbox, domain="a.example")["id"]
    first = created(sandbox, CONTACTS, email="Ada@Example.com")
    assert first["properties"]["email"] == "ada@example.com"
    second = sandbox.request("POST", CONTACTS, {"properties": {"email": "ADA@example.COM"}})
    assert second.status_code == 409
    assert second.json()["category"] == "CONFLICT"
    assert second.json()["message"] == f"Contact already exists. Existing ID: {first['id']}"


@pytest.mark.parametrize(
    ("object_type", "given", "missing"),
    [
        ("companies", {"city": "Leeds"}, ["name", "domain"]),
        ("contacts", {"phone": "1"}, ["email", "firstname", "lastname"]),
        ("deals", {"dealname": "Big"}, ["dealstage"]),
    ],
)
def test_required_properties(sandbox: RunningSandbox, object_type: str, given: dict[str, str], missing: list[str]) -> None:
    answer = sandbox.request("POST", f"/crm/v3/objects/{object_type}", {"properties": given})
    assert answer.status_code == 400
    assert answer.json()["context"]["properties"] == missing


@pytest.mark.parametrize(
    ("path", "given", "code"),
    [
        (COMPANIES, {"nothing": "x"}, "PROPERTY_DOESNT_EXIST"),
        (COMPANIES, {"hs_object_id": "1"}, "READ_ONLY_VALUE"),
        (COMPANIES, {"createdate": "2026-01-01"}, "READ_ONLY_VALUE"),
        (COMPANIES, {"numberofemployees": "1,200"}, "INVALID_INTEGER"),
        (COMPANIES, {"closedate": "soon"}, "INVALID_LONG"),
        (COMPANIES, {"industry": "computer_software"}, "INVALID_OPTION"),
        (COMPANIES, {"is_public": "yes"}, "INVALID_OPTION"),
        (COMPANIES, {"hubspot_owner_id": "5"}, "INVALID_OPTION"),
        (COMPANIES, {"description": "x" * 65_537}, "INVALID_STRING_LENGTH"),
        (CONTACTS, {"email": "ada at example"}, "INVALID_EMAIL"),
    ],
)
def test_bad_values_are_refused_by_code(sandbox: RunningSandbox, path: str, given: dict[str, str], code: str) -> None:
    answer = sandbox.request("POST", path, {"properties": {"name" if path == COMPANIES else "firstname": "A", **given}})
    assert (answer.status_code, codes(answer)) == (400, [code])
    body = answer.json()
    assert body["category"] == "VALIDATION_ERROR"
    assert body["errors"][0]["context"]["propertyName"] == list(given)
    embedded = json.loads(body["message"].removeprefix("Property values were not valid: "))
    assert embedded[0]["error"] == code


def test_all_bad_values_of_a_record_are_named(sandbox: RunningSandbox) -> None:
    answer = sandbox.request("POST", COMPANIES, {"properties": {"name": "A", "nothing": "x", "industry": "y"}})
    assert codes(answer) == ["PROPERTY_DOESNT_EXIST", "INVALID_OPTION"]


def test_the_longest_string_is_taken(sandbox: RunningSandbox) -> None:
    assert len(created(sandbox, name="A", description="x" * 65_536)["properties"]["description"]) == 65_536


def test_empty_text_clears_and_reads_back_as_null(sandbox: RunningSandbox) -> None:
    path = f"{COMPANIES}/{created(sandbox, name='A', city='Leeds')['id']}"
    cleared = sandbox.request("PATCH", path, {"properties": {"city": ""}})
    assert cleared.json()["properties"]["city"] == ""
    assert sandbox.request("GET", path, properties="city,nothing").json()["properties"]["city"] is None


def test_undefined_properties_asked_for_are_left_out(sandbox: RunningSandbox) -> None:
    record = created(sandbox, name="A")
    shown = sandbox.request("GET", f"{COMPANIES}/{record['id']}", properties="nothing,city").json()["properties"]
    assert set(shown) == {"city", "createdate", "hs_lastmodifieddate", "hs_object_id"}


def test_the_lifecycle_stage_only_moves_forward(sandbox: RunningSandbox) -> None:
    path = f"{COMPANIES}/{created(sandbox, name='A', lifecyclestage='customer')['id']}"
    sandbox.request("PATCH", path, {"properties": {"lifecyclestage": "lead"}})
    assert sandbox.request("GET", path, properties="lifecyclestage").json()["properties"]["lifecyclestage"] == "customer"
    sandbox.request("PATCH", path, {"properties": {"lifecyclestage": ""}})
    sandbox.request("PATCH", path, {"properties": {"lifecyclestage": "lead"}})
    assert sandbox.request("GET", path, properties="lifecyclestage").json()["properties"]["lifecyclestage"] == "lead"


def test_multiple_choices_are_replaced_or_appended(sandbox: RunningSandbox) -> None:
    path = f"{COMPANIES}/{created(sandbox, name='A', web_technologies='wordpress;shopify')['id']}"
    more = sandbox.request("PATCH", path, {"properties": {"web_technologies": ";hubspot"}})
    assert more.json()["properties"]["web_technologies"] == "wordpress;shopify;hubspot"
    less = sandbox.request("PATCH", path, {"properties": {"web_technologies": "shopify"}})
    assert less.json()["properties"]["web_technologies"] == "shopify"


def test_list_pages_by_the_id_of_the_next_record_and_links_to_the_sandbox(sandbox: RunningSandbox) -> None:
    ids = sandbox.admin.seed("companies", [{"name": f"C{n}"} for n in range(5)])
    page = sandbox.request("GET", COMPANIES, limit=2, properties="name").json()
    assert [each["id"] for each in page["results"]] == ids[:2]
    assert page["paging"]["next"]["after"] == ids[2]
    assert page["paging"]["next"]["link"].startswith(f"{sandbox.url}{COMPANIES}?")
    seen = []
    path = f"{COMPANIES}?limit=2&properties=name"
    while path:
        page = sandbox.request("GET", path).json()
        seen += [each["id"] for each in page["results"]]
        path = page.get("paging", {}).get("next", {}).get("link", "").removeprefix(sandbox.url)
    assert seen == ids


def test_list_shows_archived_records_only_when_asked(sandbox: RunningSandbox) -> None:
    first, second = sandbox.admin.seed("companies", [{"name": "A"}, {"name": "B"}])
    sandbox.admin.delete("companies", first)
    assert [each["id"] for each in sandbox.request("GET", COMPANIES).json()["results"]] == [second]
    archived = sandbox.request("GET", COMPANIES, archived="true").json()["results"]
    assert [(each["id"], each["archived"]) for each in archived] == [(first, True)]
    assert archived[0]["archivedAt"]


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_list_refuses_a_limit_out_of_range(sandbox: RunningSandbox, limit: str) -> None:
    assert sandbox.request("GET", COMPANIES, limit=limit).status_code == 400


def test_history_halves_the_page(sandbox: RunningSandbox) -> None:
    assert sandbox.request("GET", COMPANIES, limit=51, propertiesWithHistory="name").status_code == 400
    assert sandbox.request("GET", COMPANIES, limit=50, propertiesWithHistory="name").status_code == 200


def test_a_new_record_is_touched_again_by_hubspot(sandbox: RunningSandbox) -> None:
    path = f"{COMPANIES}/{created(sandbox, name='A')['id']}"
    at_once = sandbox.request("GET", path).json()
    assert at_once["updatedAt"] == at_once["createdAt"]
    sandbox.admin.advance(2.6)
    later = sandbox.request("GET", path).json()
    assert later["updatedAt"] > at_once["updatedAt"]
    assert later["properties"]["hs_lastmodifieddate"] == later["updatedAt"]


def test_reading_and_writing_by_a_unique_property(sandbox: RunningSandbox) -> None:
    record = created(sandbox, CONTACTS, email="ada@example.com")
    assert sandbox.request("GET", f"{CONTACTS}/ADA@example.com", idProperty="email").json()["id"] == record["id"]
    assert sandbox.request("GET", f"{CONTACTS}/no@example.com", idProperty="email").status_code == 404
    assert sandbox.request("GET", f"{CONTACTS}/Ada", idProperty="firstname").status_code == 400


def test_merging_gives_a_new_id_and_old_ids_lead_to_it_in_single_calls_only(sandbox: RunningSandbox) -> None:
    one = created(sandbox, name="One", domain="one.example")["id"]
    two = created(sandbox, name="Two", domain="two.example", city="Leeds")["id"]
    merged = sandbox.request("POST", f"{COMPANIES}/merge", {"primaryObjectId": one, "objectIdToMerge": two})
    assert merged.status_code == 200
    new = merged.json()["id"]
    assert new not in (one, two)
    wanted = "name,city,hs_merged_object_ids,hs_additional_domains"
    for old in (one, two):
        shown = sandbox.request("GET", f"{COMPANIES}/{old}", properties=wanted).json()
        assert shown["id"] == new
        assert shown["properties"]["hs_merged_object_ids"] == f"{one};{two}"
    assert (shown["properties"]["name"], shown["properties"]["city"]) == ("One", "Leeds")
    assert shown["properties"]["hs_additional_domains"] == "two.example"
    assert sandbox.request("PATCH", f"{COMPANIES}/{one}", {"properties": {"city": "York"}}).json()["id"] == new
    batch = {"inputs": [{"id": one, "properties": {"city": "Bath"}}]}
    refused = sandbox.request("POST", f"{COMPANIES}/batch/update", batch)
    assert (refused.status_code, refused.json()["results"]) == (207, [])
    assert [each["id"] for each in sandbox.request("GET", COMPANIES).json()["results"]] == [new]
    assert sandbox.request("GET", COMPANIES, archived="true").json()["results"] == []


def test_a_merged_contact_is_found_by_its_other_email(sandbox: RunningSandbox) -> None:
    one = created(sandbox, CONTACTS, email="one@example.com")["id"]
    two = created(sandbox, CONTACTS, email="two@example.com")["id"]
    new = sandbox.admin.merge("contacts", two, into=one)
    found = sandbox.request("GET", f"{CONTACTS}/two@example.com", idProperty="email").json()
    assert (found["id"], found["properties"]["email"]) == (new, "one@example.com")
    assert sandbox.request("POST", CONTACTS, {"properties": {"email": "two@example.com"}}).status_code == 409


def test_a_deleted_contact_s_email_is_free_again(sandbox: RunningSandbox) -> None:
    record = created(sandbox, CONTACTS, email="ada@example.com")
    sandbox.request("DELETE", f"{CONTACTS}/{record['id']}")
    assert created(sandbox, CONTACTS, email="ada@example.com")["id"] != record["id"]


def test_gdpr_delete_leaves_nothing(sandbox: RunningSandbox) -> None:
    record = created(sandbox, CONTACTS, email="ada@example.com")
    answer = sandbox.request("POST", f"{CONTACTS}/gdpr-delete", {"objectId": "ada@example.com", "idProperty": "email"})
    assert answer.status_code == 204
    assert sandbox.admin.dump("contacts", ids=record["id"]) == []
