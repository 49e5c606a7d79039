"""The batch endpoints: whole or not at all, trace ids, upsert's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

COMPANIES = "/crm/v3/objects/companies/batch"
CONTACTS = "/crm/v3/objects/contacts/batch"
KEY = {"name": "own_key", "label": "Key", "type": "string", "fieldType": "text", "groupName": "companyinformation"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


@pytest.fixture
def keyed(sandbox: RunningSandbox) -> RunningSandbox:
    answer = sandbox.request("POST", "/crm/v3/properties/companies", {**KEY, "hasUniqueValue": True})
    assert answer.status_code == 201
    return sandbox


def post(sandbox: RunningSandbox, path: str, inputs: list[dict[str, Any]], **more: Any) -> requests.Response:
    return sandbox.request("POST", path, {"inputs": inputs, **more})


def new(trace: str = "", **properties: Any) -> dict[str, Any]:
    return {"properties": properties, "objectWriteTraceId": trace} if trace else {"properties": properties}


def upsert(key: str, trace: str = "", prop: str = "own_key", **properties: Any) -> dict[str, Any]:
    return {**new(trace, **properties), "id": key, "idProperty": prop}


def test_codes(sandbox: RunningSandbox) -> None:
    made = post(sandbox, f"{COMPANIES}/create", [new(name="A")])
    record = made.json()["results"][0]["id"]
    assert (made.status_code, made.json()["status"]) == (201, "COMPLETE")
    assert post(sandbox, f"{COMPANIES}/read", [{"id": record}], properties=["name"]).status_code == 200
    assert post(sandbox, f"{COMPANIES}/update", [{"id": record, "properties": {"name": "B"}}]).status_code == 200
    upserted = post(sandbox, f"{CONTACTS}/upsert", [upsert("a@example.com", prop="email", firstname="A")])
    assert upserted.status_code == 200
    gone = post(sandbox, f"{COMPANIES}/archive", [{"id": int(record)}])
    assert (gone.status_code, gone.content) == (204, b"")
    assert sandbox.admin.live("companies") == []


def test_results_of_a_create_come_shuffled(sandbox: RunningSandbox) -> None:
    results = post(sandbox, f"{COMPANIES}/create", [new(name=f"C{n:02}") for n in range(50)]).json()["results"]
    names = [each["properties"]["name"] for each in results]
    assert names != sorted(names)
    assert sorted(names) == [f"C{n:02}" for n in range(50)]


def test_trace_ids_come_back_with_their_records(sandbox: RunningSandbox) -> None:
    results = post(sandbox, f"{COMPANIES}/create", [new(f"t{n}", name=f"C{n}") for n in range(20)]).json()["results"]
    assert all(each["objectWriteTraceId"] == each["properties"]["name"].replace("C", "t") for each in results)


def test_without_trace_ids_one_bad_input_refuses_all(sandbox: RunningSandbox) -> None:
    answer = post(sandbox, f"{COMPANIES}/create", [new(name="A"), new(name="B", nothing="x")])
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    assert sandbox.admin.dump("companies") == []


def test_without_trace_ids_one_bad_input_refuses_an_update_whole(sandbox: RunningSandbox) -> None:
    first, second = sandbox.admin.seed("companies", [{"name": "A"}, {"name": "B"}])
    inputs = [{"id": first, **new(city="Leeds")}, {"id": second, **new(industry="none")}]
    assert post(sandbox, f"{COMPANIES}/update", inputs).status_code == 400
    assert "city" not in sandbox.admin.dump("companies", ids=first)[0]["properties"]


def test_with_trace_ids_the_good_inputs_are_written(sandbox: RunningSandbox) -> None:
    answer = post(sandbox, f"{COMPANIES}/create", [new("a", name="A"), new("b", name="B", nothing="x")])
    body = answer.json()
    assert (answer.status_code, body["status"], body["numErrors"]) == (207, "COMPLETE", 1)
    assert [each["objectWriteTraceId"] for each in body["results"]] == ["a"]
    assert body["errors"][0]["context"] == {"objectWriteTraceId": ["b"]}
    assert body["errors"][0]["category"] == "VALIDATION_ERROR"
    assert [each["properties"]["name"] for each in sandbox.admin.dump("companies")] == ["A"]


@pytest.mark.parametrize("traces", [("a", ""), ("a", "a")])
def test_trace_ids_must_be_on_every_input_and_differ(sandbox: RunningSandbox, traces: tuple[str, str]) -> None:
    answer = post(sandbox, f"{COMPANIES}/create", [new(traces[0], name="A"), new(traces[1], nothing="x")])
    assert answer.status_code == 400


def test_an_email_that_is_taken_refuses_the_batch_with_409(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("contacts", [{"email": "ada@example.com"}])
    answer = post(sandbox, f"{CONTACTS}/create", [new(email="new@example.com"), new(email="Ada@example.com")])
    assert (answer.status_code, answer.json()["category"]) == (409, "CONFLICT")
    assert answer.json()["message"] == f"Contact already exists. Existing ID: {held}"
    assert len(sandbox.admin.dump("contacts")) == 1


def test_with_trace_ids_the_clash_names_the_existing_contact(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("contacts", [{"email": "ada@example.com"}])
    answer = post(sandbox, f"{CONTACTS}/create", [new("1", email="new@example.com"), new("2", email="ada@example.com")])
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["category"]) == (207, "CONFLICT")
    assert error["context"] == {"objectWriteTraceId": ["2"], "existingId": [held]}


def test_the_same_email_twice_in_a_batch_is_a_clash(sandbox: RunningSandbox) -> None:
    answer = post(sandbox, f"{CONTACTS}/create", [new(email="a@example.com"), new(email="A@example.com")])
    assert answer.status_code == 409


def test_more_than_a_hundred_inputs_are_refused(sandbox: RunningSandbox) -> None:
    assert post(sandbox, f"{COMPANIES}/create", [new(name="A")] * 100).status_code == 201
    assert post(sandbox, f"{COMPANIES}/create", [new(name="A")] * 101).status_code == 400
    assert len(sandbox.admin.dump("companies")) == 100


def test_history_halves_what_a_read_may_ask(sandbox: RunningSandbox) -> None:
    inputs = [{"id": str(n)} for n in range(51)]
    refused = post(sandbox, f"{COMPANIES}/read", inputs, propertiesWithHistory=["name"])
    assert "property histories is 50" in refused.json()["message"]


@pytest.mark.parametrize("verb", ["update", "upsert"])
def test_the_same_id_twice_refuses_the_batch_even_with_trace_ids(keyed: RunningSandbox, verb: str) -> None:
    inputs = [upsert("K1", "a", name="A"), upsert("k1", "b", name="B")]
    answer = post(keyed, f"{COMPANIES}/{verb}", inputs)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Duplicate IDs found in batch input: [k1]. IDs must be unique"
    assert answer.json()["context"] == {"ids": ["k1"]}


def test_ids_that_are_not_there_are_listed_and_the_rest_is_done(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("companies", [{"name": "A"}])
    inputs = [{"id": held, **new(city="Leeds")}, {"id": "1", **new(city="York")}, {"id": "2", **new(city="Bath")}]
    answer = post(sandbox, f"{COMPANIES}/update", inputs)
    error = answer.json()["errors"][0]
    assert (answer.status_code, [each["id"] for each in answer.json()["results"]]) == (207, [held])
    assert (error["category"], error["context"]) == ("OBJECT_NOT_FOUND", {"ids": ["1", "2"]})
    assert error["message"].startswith("Could not get some COMPANY objects")
    read = post(sandbox, f"{COMPANIES}/read", [{"id": held}, {"id": "1"}])
    assert (read.status_code, read.json()["errors"][0]["context"]) == (207, {"ids": ["1"]})


def test_upsert_creates_once_and_then_updates(keyed: RunningSandbox) -> None:
    first = post(keyed, f"{COMPANIES}/upsert", [upsert("k1", name="A")]).json()["results"][0]
    second = post(keyed, f"{COMPANIES}/upsert", [upsert("K1", name="B")]).json()["results"][0]
    assert (first["new"], second["new"]) == (True, False)
    assert first["id"] == second["id"]
    assert [each["properties"]["name"] for each in keyed.admin.dump("companies")] == ["B"]


def test_upsert_with_trace_ids_writes_the_good_ones(keyed: RunningSandbox) -> None:
    answer = post(keyed, f"{COMPANIES}/upsert", [upsert("k1", "a", name="A"), upsert("k2", "b", name="B", industry="x")])
    assert answer.status_code == 207
    assert [each["objectWriteTraceId"] for each in answer.json()["results"]] == ["a"]


@pytest.mark.parametrize(
    ("path", "prop", "message"),
    [
        (COMPANIES, "domain", "Unable to perform update/upsert by non-unique 0-2 property domain"),
        (COMPANIES, "name", "Unable to perform update/upsert by non-unique 0-2 property name"),
        (
            COMPANIES,
            "hs_object_id",
            "Unable to perform update/upsert by non-unique 0-2 property hs_object_id in portal ID 147000001",
        ),
        (CONTACTS, "phone", "Unable to perform update/upsert by non-unique 0-1 property phone"),
    ],
)
def test_upsert_needs_a_unique_property(sandbox: RunningSandbox, path: str, prop: str, message: str) -> None:
    answer = post(sandbox, f"{path}/upsert", [upsert("x", prop=prop, name="A")])
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_upsert_by_a_secondary_email_updates_the_contact(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("contacts", [{"email": "a@example.com", "hs_additional_emails": "b@example.com"}])
    result = post(sandbox, f"{CONTACTS}/upsert", [upsert("B@example.com", prop="email", firstname="Ada")]).json()["results"][0]
    assert (result["id"], result["new"]) == (held, False)


def test_a_unique_value_held_by_another_record_is_refused(keyed: RunningSandbox) -> None:
    first, second = keyed.admin.seed("companies", [{"name": "A", "own_key": "k1"}, {"name": "B"}])
    answer = post(keyed, f"{COMPANIES}/update", [{"id": second, **new(own_key="K1")}])
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "CONFLICTING_UNIQUE_VALUE")
    assert first in answer.json()["message"]


def test_a_unique_value_given_up_is_free(keyed: RunningSandbox) -> None:
    first, second = keyed.admin.seed("companies", [{"name": "A", "own_key": "k1"}, {"name": "B"}])
    assert post(keyed, f"{COMPANIES}/update", [{"id": first, **new(own_key="k2")}]).status_code == 200
    assert post(keyed, f"{COMPANIES}/update", [{"id": second, **new(own_key="k1")}]).status_code == 200


@pytest.mark.parametrize("body", ["[]", "{", '{"inputs": {}}', '{"inputs": [1]}', '{"inputs": []}'])
def test_unreadable_input_is_refused(sandbox: RunningSandbox, body: str) -> None:
    headers = {"Authorization": f"Bearer {sandbox.token}", "Content-Type": "application/json"}
    answer = requests.post(f"{sandbox.url}{COMPANIES}/create", data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_an_update_answers_what_was_written(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("companies", [{"name": "A", "city": "Leeds"}])
    result = post(sandbox, f"{COMPANIES}/update", [{"id": held, **new(phone="1")}]).json()["results"][0]
    assert result["properties"]["phone"] == "1"
    assert "city" not in result["properties"]
    assert result["properties"]["hs_lastmodifieddate"] == result["updatedAt"]


def test_reading_by_a_unique_property(keyed: RunningSandbox) -> None:
    (held,) = keyed.admin.seed("companies", [{"name": "A", "own_key": "k1"}])
    answer = post(keyed, f"{COMPANIES}/read", [{"id": "K1"}], idProperty="own_key", properties=["own_key"])
    assert [(each["id"], each["properties"]["own_key"]) for each in answer.json()["results"]] == [(held, "k1")]


def test_a_create_can_bring_its_associations(sandbox: RunningSandbox) -> None:
    (company,) = sandbox.admin.seed("companies", [{"name": "A"}])
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]
    given = {**new(firstname="Ada"), "associations": [{"to": {"id": company}, "types": types}]}
    contact = post(sandbox, f"{CONTACTS}/create", [given]).json()["results"][0]["id"]
    assert sandbox.admin.dump("companies")[0]["associations"] == {"contacts": [contact]}
