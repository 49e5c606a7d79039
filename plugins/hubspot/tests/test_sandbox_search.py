"""Search: the lag of its index, what it filters by and where it stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from syncline_hubspot.sandbox.process import RunningSandbox

PATH = "/crm/v3/objects/companies/search"
LAG = 5.0


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=LAG) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    running.admin.config(index_lag_s=LAG)
    return running


def search(sandbox: RunningSandbox, *filters: dict[str, Any], **more: Any) -> dict[str, Any]:
    groups = [{"filters": list(filters)}] if filters else []
    answer = sandbox.request("POST", PATH, {"filterGroups": groups, "limit": 100, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [each["properties"]["name"] for each in found["results"]]


def where(name: str, operator: str, value: Any = None, **more: Any) -> dict[str, Any]:
    given = {"propertyName": name, "operator": operator, **more}
    return given if value is None else {**given, "value": value}


def test_a_new_record_is_not_found_before_the_lag_is_over(sandbox: RunningSandbox) -> None:
    sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A", "domain": "a.example"}})
    assert search(sandbox, where("domain", "EQ", "a.example"))["total"] == 0
    sandbox.admin.advance(LAG - 1)
    assert search(sandbox, where("domain", "EQ", "a.example"))["total"] == 0
    sandbox.admin.advance(1.1)
    assert names(search(sandbox, where("domain", "EQ", "a.example"))) == ["A"]


def test_hits_are_chosen_by_old_values_and_shown_with_new_ones(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("companies", [{"name": "Old", "domain": "old.example"}])
    sandbox.request("PATCH", f"/crm/v3/objects/companies/{held}", {"properties": {"name": "New", "domain": "new.example"}})
    assert names(search(sandbox, where("domain", "EQ", "old.example"))) == ["New"]
    assert search(sandbox, where("domain", "EQ", "new.example"))["total"] == 0
    sandbox.admin.advance(LAG + 0.1)
    assert search(sandbox, where("domain", "EQ", "old.example"))["total"] == 0
    assert names(search(sandbox, where("domain", "EQ", "new.example"))) == ["New"]


def test_an_archived_hit_is_counted_but_absent_until_the_index_knows(sandbox: RunningSandbox) -> None:
    (held,) = sandbox.admin.seed("companies", [{"name": "A", "domain": "a.example"}])
    sandbox.request("DELETE", f"/crm/v3/objects/companies/{held}")
    found = search(sandbox, where("domain", "EQ", "a.example"))
    assert (found["total"], found["results"]) == (1, [])
    sandbox.admin.advance(LAG + 0.1)
    assert search(sandbox, where("domain", "EQ", "a.example"))["total"] == 0


def test_without_lag_a_write_is_found_at_once(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(index_lag_s=0)
    sandbox.request("POST", "/crm/v3/objects/companies", {"properties": {"name": "A"}})
    assert search(sandbox)["total"] == 1


ROWS = [
    {"name": "Ann Ltd", "domain": "ann.example", "numberofemployees": "5", "industry": "BANKING", "closedate": "2026-01-01"},
    {"name": "Bob plc", "domain": "bob.example", "numberofemployees": "40", "industry": "RETAIL", "closedate": "2026-06-01"},
    {"name": "Cyd", "domain": "cyd.ann.example", "numberofemployees": "300"},
]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (where("domain", "EQ", "ANN.example"), ["Ann Ltd"]),
        (where("domain", "NEQ", "ann.example"), ["Bob plc", "Cyd"]),
        (where("domain", "IN", values=["ann.example", "bob.example", "none"]), ["Ann Ltd", "Bob plc"]),
        (where("domain", "IN", values=["ANN.example"]), []),
        (where("domain", "NOT_IN", values=["ann.example"]), ["Bob plc", "Cyd"]),
        (where("industry", "IN", values=["RETAIL"]), ["Bob plc"]),
        (where("industry", "EQ", "retail"), []),
        (where("industry", "HAS_PROPERTY"), ["Ann Ltd", "Bob plc"]),
        (where("industry", "NOT_HAS_PROPERTY"), ["Cyd"]),
        (where("numberofemployees", "GT", "5"), ["Bob plc", "Cyd"]),
        (where("numberofemployees", "GTE", "5"), ["Ann Ltd", "Bob plc", "Cyd"]),
        (where("numberofemployees", "LT", "300"), ["Ann Ltd", "Bob plc"]),
        (where("numberofemployees", "LTE", "40"), ["Ann Ltd", "Bob plc"]),
        (where("numberofemployees", "BETWEEN", "6", highValue="300"), ["Bob plc", "Cyd"]),
        (where("closedate", "GT", "1769904000000"), ["Bob plc"]),
        (where("closedate", "LT", "2026-02-01"), ["Ann Ltd"]),
        (where("domain", "CONTAINS_TOKEN", "ann.example"), ["Ann Ltd", "Cyd"]),
        (where("name", "CONTAINS_TOKEN", "b*"), ["Bob plc"]),
        (where("name", "NOT_CONTAINS_TOKEN", "plc"), ["Ann Ltd", "Cyd"]),
    ],
)
def test_operators(sandbox: RunningSandbox, given: dict[str, Any], found: list[str]) -> None:
    sandbox.admin.seed("companies", ROWS)
    assert sorted(names(search(sandbox, given))) == found


def test_groups_are_alternatives_and_filters_add_up(sandbox: RunningSandbox) -> None:
    sandbox.admin.seed("companies", ROWS)
    small, bank = where("numberofemployees", "LT", "50"), where("industry", "EQ", "BANKING")
    assert names(search(sandbox, small, bank)) == ["Ann Ltd"]
    groups = [{"filters": [bank]}, {"filters": [where("name", "EQ", "cyd")]}]
    assert names(search(sandbox, filterGroups=groups)) == ["Ann Ltd", "Cyd"]
    assert names(search(sandbox, filters=[bank])) == ["Ann Ltd"]


def test_query_sort_and_paging(sandbox: RunningSandbox) -> None:
    sandbox.admin.seed("companies", ROWS)
    assert names(search(sandbox, query="ann")) == ["Ann Ltd", "Cyd"]
    down = [{"propertyName": "numberofemployees", "direction": "DESCENDING"}]
    first = search(sandbox, sorts=down, limit=2)
    assert (names(first), first["total"], first["paging"]["next"]["after"]) == (["Cyd", "Bob plc"], 3, "2")
    rest = search(sandbox, sorts=down, limit=2, after="2")
    assert (names(rest), "paging" in rest) == (["Ann Ltd"], False)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 200, "after": "9900"},
        {"filterGroups": [{"filters": [where("name", "EQ", "a")]}] * 6},
        {"filterGroups": [{"filters": [where("name", "EQ", "a")] * 7}]},
        {"filterGroups": [{"filters": [where("name", "EQ", "a")] * 5}] * 4},
        {"filterGroups": [{"filters": [where("nothing", "EQ", "a")]}]},
        {"filterGroups": [{"filters": [where("name", "LIKE", "a")]}]},
        {"sorts": ["name", "domain"]},
        {"query": "x" * 3001},
    ],
)
def test_what_search_refuses(sandbox: RunningSandbox, body: dict[str, Any]) -> None:
    answer = sandbox.request("POST", PATH, body)
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_ten_thousand_results_are_the_wall(sandbox: RunningSandbox) -> None:
    sandbox.admin.seed("companies", [{"name": f"C{n}"} for n in range(10_050)])
    last = search(sandbox, limit=100, after="9900")
    assert (last["total"], len(last["results"]), last["paging"]["next"]["after"]) == (10_050, 100, "10000")
    assert sandbox.request("POST", PATH, {"limit": 100, "after": "10000"}).status_code == 400


def test_records_associated_with_another(sandbox: RunningSandbox) -> None:
    company, _ = sandbox.admin.seed("companies", [{"name": "A"}, {"name": "B"}])
    (contact,) = sandbox.admin.seed("contacts", [{"email": "a@example.com"}])
    sandbox.admin.link("companies", "contacts", [(company, contact)])
    assert names(search(sandbox, where("associations.contact", "EQ", contact))) == ["A"]


def changed_since(sandbox: RunningSandbox, last: str, *, limit: int = 3) -> tuple[int, list[str]]:
    window = {"propertyName": "hs_object_id", "operator": "GT", "value": last}
    group = {"filters": [{"propertyName": "city", "operator": "EQ", "value": "leeds"}, window]}
    by_id = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    body = {"filterGroups": [group], "sorts": by_id, "limit": limit}
    answer = sandbox.request("POST", "/crm/v3/objects/companies/search", body).json()
    return answer["total"], [each["id"] for each in answer["results"]]


@pytest.mark.parametrize("lag", [0.0, LAG])
def test_a_search_that_is_sent_again_sees_what_changed_meanwhile(sandbox: RunningSandbox, lag: float) -> None:
    sandbox.admin.config(index_lag_s=lag)
    ids = sandbox.admin.seed("companies", [{"name": f"C{n}", "city": "Leeds"} for n in range(8)])
    assert changed_since(sandbox, "0") == (8, ids[:3])
    assert changed_since(sandbox, ids[2]) == (5, ids[3:6])
    assert changed_since(sandbox, ids[-1]) == (0, [])
    sandbox.admin.patch("companies", ids[3], {"city": "York"})
    sandbox.admin.advance(60)
    assert changed_since(sandbox, ids[2]) == (4, ids[4:7])
    sandbox.admin.delete("companies", ids[4])
    (new,) = sandbox.admin.seed("companies", [{"name": "New", "city": "Leeds"}])
    sandbox.admin.advance(60)
    assert changed_since(sandbox, ids[2]) == (4, ids[5:8])
    assert changed_since(sandbox, ids[7]) == (1, [new])


def test_a_search_that_is_sent_again_waits_for_the_index_and_no_longer(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(index_lag_s=30)
    (one,) = sandbox.admin.seed("companies", [{"name": "A"}])
    assert changed_since(sandbox, "0") == (0, [])
    sandbox.admin.patch("companies", one, {"city": "Leeds"})
    sandbox.admin.advance(29)
    assert changed_since(sandbox, "0") == (0, [])
    sandbox.admin.advance(2)
    assert changed_since(sandbox, "0") == (1, [one])
    sandbox.admin.config(index_lag_s=0)
