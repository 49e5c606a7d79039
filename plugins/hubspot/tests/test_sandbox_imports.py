"""Imports in the sandbox, against what is known of HubSpot's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

KEY = {"name": "our_key", "label": "Our key", "type": "string", "fieldType": "text", "groupName": "companyinformation"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    running.admin.config(import_rows_per_s=0, imports_daily=500, import_rows=1_048_576, import_bytes=10_000_000)
    assert running.request("POST", "/crm/v3/properties/companies", {**KEY, "hasUniqueValue": True}).status_code == 201
    return running


def hand_in(
    sandbox: RunningSandbox,
    rows: list[dict[str, str]],
    identifier: str = "our_key",
    *,
    operation: str = "UPSERT",
    path: str = "/crm/v3/imports",
    token: str = "",
) -> requests.Response:
    names = list(rows[0])
    columns = [{"columnObjectTypeId": "0-2", "columnName": n.upper(), "propertyName": n} for n in names]
    for column in columns:
        if column["propertyName"] == identifier:
            column["columnType"] = "HUBSPOT_ALTERNATE_ID"
    page = {"hasHeader": True, "columnMappings": columns}
    files = [{"fileName": "a.csv", "fileFormat": "CSV", "fileImportPage": page}]
    asked = {"name": "First load", "importOperations": {"0-2": operation}, "dateFormat": "YEAR_MONTH_DAY", "files": files}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([n.upper() for n in names])
    writer.writerows([list(row.values()) for row in rows])
    return requests.post(
        sandbox.url + path,
        data={"importRequest": json.dumps(asked)},
        files={"files": ("a.csv", text.getvalue().encode(), "text/csv")},
        headers={"Authorization": f"Bearer {token or sandbox.token}"},
        timeout=30,
    )


def state(sandbox: RunningSandbox, number: str) -> dict[str, Any]:
    found: dict[str, Any] = sandbox.request("GET", f"/crm/v3/imports/{number}").json()
    return found


def faults(sandbox: RunningSandbox, number: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.request("GET", f"/crm/v3/imports/{number}/errors", **query).json()["results"]
    return found


def companies(number: int, start: int = 0) -> list[dict[str, str]]:
    return [{"our_key": f"k{n}", "name": f"Company {n}", "domain": f"c{n}.example"} for n in range(start, start + number)]


@pytest.mark.parametrize("path", ["/crm/v3/imports", "/crm/imports/2026-03", "/crm/imports/2026-09"])
def test_a_file_is_written_and_no_ids_are_told(sandbox: RunningSandbox, path: str) -> None:
    answer = hand_in(sandbox, companies(3), path=path)
    assert answer.status_code == 200
    done = state(sandbox, answer.json()["id"])
    assert (done["state"], done["importName"], done["importSource"]) == ("DONE", "First load", "API")
    assert done["metadata"]["counters"] == {"TOTAL_ROWS": 3, "CREATED_OBJECTS": 3, "UNIQUE_OBJECTS_WRITTEN": 3}
    there = sandbox.admin.live("companies")
    assert {r["properties"]["our_key"]: r["properties"]["domain"] for r in there} == {f"k{n}": f"c{n}.example" for n in range(3)}
    assert not any(r["id"] in answer.text + json.dumps(done) for r in there)


def test_existing_records_are_found_by_a_unique_property_and_updated(sandbox: RunningSandbox) -> None:
    hand_in(sandbox, companies(2))
    second = hand_in(sandbox, [{"our_key": "k1", "name": "New name", "domain": ""}, *companies(1, start=2)]).json()
    counters = state(sandbox, second["id"])["metadata"]["counters"]
    assert (counters["UPDATED_OBJECTS"], counters["CREATED_OBJECTS"]) == (1, 1)
    names = {r["properties"]["our_key"]: r["properties"] for r in sandbox.admin.live("companies")}
    assert names["k1"]["name"] == "New name"
    assert names["k1"]["domain"] == "c1.example"  # an empty cell changes nothing


def test_companies_are_told_apart_by_domain_and_several_are_refused(sandbox: RunningSandbox) -> None:
    [one, *_] = sandbox.admin.seed(
        "companies",
        [
            {"name": "Held", "domain": "C0.example"},
            {"name": "Twin a", "domain": "c1.example"},
            {"name": "Twin b", "domain": "else.example", "hs_additional_domains": "c1.example"},
        ],
    )
    number = hand_in(sandbox, companies(3), "domain").json()["id"]
    assert [(e["errorType"], e["sourceData"]["lineNumber"]) for e in faults(sandbox, number)] == [
        ("MULTIPLE_COMPANIES_WITH_THIS_DOMAIN", 3)
    ]
    there = {r["id"]: r["properties"] for r in sandbox.admin.live("companies")}
    assert (there[one]["name"], there[one]["our_key"]) == ("Company 0", "k0")
    assert len(there) == 4


def test_a_bad_value_is_left_out_and_told_with_its_row(sandbox: RunningSandbox) -> None:
    rows = [{**row, "industry": "ALCHEMY" if n == 1 else "BANKING"} for n, row in enumerate(companies(3))]
    number = hand_in(sandbox, rows).json()["id"]
    [fault] = faults(sandbox, number, includeErrorMessage="true", includeRowData="true")
    assert (fault["errorType"], fault["knownColumnNumber"], fault["invalidValue"]) == ("INVALID_ENUMERATION_OPTION", 3, "ALCHEMY")
    assert fault["sourceData"]["rowData"] == list(rows[1].values())
    assert "not one of the allowed options" in fault["errorMessage"]
    assert "errorMessage" not in faults(sandbox, number)[0]
    there = {r["properties"]["our_key"]: r["properties"] for r in sandbox.admin.live("companies")}
    assert "industry" not in there["k1"]
    assert there["k2"]["industry"] == "BANKING"


def test_the_same_identifier_twice_and_operations_that_do_not_fit(sandbox: RunningSandbox) -> None:
    twice = hand_in(sandbox, [*companies(1), *companies(1)]).json()["id"]
    only_new = hand_in(sandbox, companies(1), operation="CREATE").json()["id"]
    only_known = hand_in(sandbox, companies(1, start=9), operation="UPDATE").json()["id"]
    kinds = [faults(sandbox, n)[0]["errorType"] for n in (twice, only_new, only_known)]
    assert kinds == ["DUPLICATE_ALTERNATE_ID", "CREATE_ONLY_IMPORT", "UPDATE_ONLY_IMPORT"]
    assert len(sandbox.admin.live("companies")) == 1


def test_what_identifies_nobody_is_refused(sandbox: RunningSandbox) -> None:
    answer = hand_in(sandbox, companies(1), "name")
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")
    assert "does not identify a company" in answer.json()["message"]


def test_three_at_once_in_time_and_the_rest_deferred(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(import_rows_per_s=10)
    numbers = [hand_in(sandbox, companies(100, start=100 * n)).json()["id"] for n in range(4)]
    assert [state(sandbox, n)["state"] for n in numbers][3] == "DEFERRED"
    sandbox.admin.advance(5)
    begun = state(sandbox, numbers[0])
    assert begun["state"] == "PROCESSING"
    assert 50 <= begun["metadata"]["counters"]["TOTAL_ROWS"] < 100
    sandbox.admin.advance(10)
    assert [state(sandbox, n)["state"] for n in numbers[:3]] == ["DONE"] * 3
    state(sandbox, numbers[3])
    sandbox.admin.advance(10)
    assert state(sandbox, numbers[3])["state"] == "DONE"
    assert len(sandbox.admin.live("companies")) == 400


def test_a_cancelled_import_keeps_what_was_written(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(import_rows_per_s=10)
    number = hand_in(sandbox, companies(100)).json()["id"]
    sandbox.admin.advance(5)
    state(sandbox, number)
    assert sandbox.request("POST", f"/crm/v3/imports/{number}/cancel").status_code == 200
    sandbox.admin.advance(100)
    assert state(sandbox, number)["state"] == "CANCELED"
    assert 50 <= len(sandbox.admin.live("companies")) < 100


def test_rows_bytes_and_files_a_day_are_limited(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(import_rows=2, import_bytes=200, imports_daily=1)
    assert hand_in(sandbox, companies(3)).status_code == 429
    assert hand_in(sandbox, [{**companies(1)[0], "name": "x" * 300}]).status_code == 429
    assert hand_in(sandbox, companies(1)).status_code == 200
    assert hand_in(sandbox, companies(1)).status_code == 429


def test_imports_and_errors_are_listed_by_page_and_need_their_scope(sandbox: RunningSandbox) -> None:
    numbers = [hand_in(sandbox, companies(1)).json()["id"] for _ in range(3)]
    first = sandbox.request("GET", "/crm/v3/imports", limit=2).json()
    second = sandbox.request("GET", "/crm/v3/imports", limit=2, after=first["paging"]["next"]["after"]).json()
    assert sorted(one["id"] for one in first["results"] + second["results"]) == sorted(numbers)
    assert "paging" not in second
    narrow = sandbox.admin.issue_token(["crm.objects.companies.write"])
    assert hand_in(sandbox, companies(1), token=narrow).json()["category"] == "MISSING_SCOPES"
    assert sandbox.request("GET", "/crm/v3/imports/1").status_code == 404


def test_the_answer_may_be_lost_after_the_file_was_taken(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("cut_after", endpoint="imports_create")
    with pytest.raises(requests.ConnectionError):
        hand_in(sandbox, companies(2))
    assert [one["importName"] for one in sandbox.request("GET", "/crm/v3/imports").json()["results"]] == ["First load"]
    assert len(sandbox.admin.live("companies")) == 2
