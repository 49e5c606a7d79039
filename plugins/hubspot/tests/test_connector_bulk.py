"""The connector's imports against the sandbox: what is in the file, how it is sent, and what is read back."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from syncline.contract import (
    BulkJob,
    BulkResult,
    Change,
    Code,
    Collected,
    HeaderAuth,
    Http,
    ObjectType,
    Op,
    OutcomeUnknown,
    Permanent,
    Property,
    RateLimited,
    Retryable,
    Session,
    Status,
    UnsupportedFeature,
)
from syncline_hubspot import bulk
from syncline_hubspot.client import Client
from syncline_hubspot.objects import discover
from syncline_hubspot.properties import KEY, create
from syncline_hubspot.sandbox.import_calls import _multipart
from syncline_hubspot.sandbox.process import RunningSandbox
from syncline_hubspot.wire import to_wire


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    running.admin.config(import_rows_per_s=0, index_lag_s=0)
    return running


def session(sandbox: RunningSandbox, waited: list[float] | None = None) -> Session:
    waits: list[float] = [] if waited is None else waited
    auth = HeaderAuth({"Authorization": f"Bearer {sandbox.token}"})
    http = Http(hosts=("127.0.0.1",), auth=auth, sleep=waits.append, patience=5.0)
    settings = {"api_url": sandbox.url, "api_version": "2026-09", "own_key": True}
    return Session(settings=settings, http=http, installation="i", log=logging.getLogger("test.hubspot"))


def companies(of: Session, *more: Property) -> ObjectType:
    found = next(one for one in discover(of) if one.key == "companies")
    create(Client(of), found, [KEY, *more])
    return next(one for one in discover(of) if one.key == "companies")


def changes(number: int, **properties: Any) -> list[Change]:
    return [
        Change(f"{n}", Op.UPSERT, unique_key=f"i:t.c:{n}", properties={"name": f"C {n}", **properties}) for n in range(number)
    ]


def collected(of: Session, kind: ObjectType, token: str, keys: Sequence[str]) -> tuple[dict[str, BulkResult], list[Collected]]:
    pages = list(bulk.collect(Client(of), kind, token, iter(keys)))
    found: dict[str, BulkResult] = {}
    for result in (result for page in pages for result in page.results):
        found.setdefault(result.unique_key, result)
    return found, pages


def test_every_kind_of_value_arrives_as_a_call_would_write_it(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    values: dict[str, Any] = {
        "description": 'He said "no", then\nleft; ö€',
        "numberofemployees": Decimal("12.50").normalize(),
        "is_public": False,
        "closedate": "2026-02-28T23:59:59.123Z",
        "web_technologies": ("shopify", "wordpress"),
        "industry": "BANKING",
        "city": None,
    }
    token = bulk.submit(Client(of), kind, BulkJob("A load", changes(1, **values)))
    found, _ = collected(of, kind, token, ["i:t.c:0"])
    assert found["i:t.c:0"].status is Status.CREATED
    imported = sandbox.admin.live("companies")[0]["properties"]
    called = {"name": "By call", **{n: to_wire(v) for n, v in values.items()}}
    by_call = Client(of).batch.create("companies", {"inputs": [{"properties": called}]})
    written = next(r for r in sandbox.admin.live("companies") if r["id"] == by_call["results"][0]["id"])["properties"]
    assert {n: imported.get(n) for n in values} == {n: written.get(n) for n in values}
    assert "city" not in imported


def test_what_is_asked_of_hubspot(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    token = bulk.submit(Client(of), kind, BulkJob("By domain", changes(1, domain="a.example"), match_by="domain"))
    [one] = sandbox.request("GET", "/crm/v3/imports").json()["results"]
    assert (one["id"], one["importName"]) == (token, "By domain")
    asked = one["importRequestJson"]
    assert (asked["importOperations"], asked["dateFormat"]) == ({"0-2": "UPSERT"}, "YEAR_MONTH_DAY")
    columns = asked["files"][0]["fileImportPage"]["columnMappings"]
    assert [(c["propertyName"], c.get("columnType")) for c in columns] == [
        ("syncline_key", None),
        ("domain", "HUBSPOT_ALTERNATE_ID"),
        ("name", None),
    ]
    bulk.submit(Client(of), kind, BulkJob("By key", changes(1)))
    columns = sandbox.request("GET", "/crm/v3/imports").json()["results"][0]["importRequestJson"]["files"][0]["fileImportPage"]
    assert columns["columnMappings"][0]["columnType"] == "HUBSPOT_ALTERNATE_ID"


def test_the_body_is_read_from_disk_each_time_and_says_how_long_it_is() -> None:
    rows = [["key", "name"], *([str(n), "x" * 1000] for n in range(3000))]
    with io.BytesIO() as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        csv.writer(text).writerows(rows)
        text.flush()
        body = bulk._Body({"name": "A"}, file)
        pieces = list(body)
        assert len(pieces) > 4
        assert len(b"".join(pieces)) == len(body)
        assert list(body) == pieces
        fields = dict(_multipart(b"".join(pieces)))
        text.detach()
    assert fields["importRequest"] == b'{"name":"A"}'
    assert list(csv.reader(io.StringIO(fields["files"].decode()))) == rows


def test_a_refusal_for_lack_of_room_sends_the_whole_file_again(sandbox: RunningSandbox) -> None:
    waited: list[float] = []
    of = session(sandbox, waited)
    kind = companies(of)
    sandbox.admin.fault("429_general", endpoint="imports_create")
    token = bulk.submit(Client(of), kind, BulkJob("Again", changes(30)))
    assert waited == [2.0]
    found, _ = collected(of, kind, token, [f"i:t.c:{n}" for n in range(30)])
    assert {result.status for result in found.values()} == {Status.CREATED}


def test_too_many_imports_today_are_a_refusal_and_hold_up_nobody(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    sandbox.admin.config(imports_daily=0)
    try:
        with pytest.raises(Permanent, match="HubSpot takes no further import now") as caught:
            bulk.submit(Client(of), kind, BulkJob("Too many", changes(1)))
    finally:
        sandbox.admin.config(imports_daily=500)
    cause = caught.value.__cause__
    assert isinstance(cause, RateLimited)
    assert (cause.scope, cause.after) == ("imports", 3600.0)


def test_a_job_is_found_again_among_many(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    first = bulk.submit(Client(of), kind, BulkJob("The first", changes(1)))
    for number in range(101):
        bulk.submit(Client(of), kind, BulkJob(f"Other {number}", changes(1)))
    sandbox.admin.reset_counters()
    assert bulk.submit(Client(of), kind, BulkJob("The first", changes(1), perhaps_sent=True)) == first
    assert bulk.submit(Client(of), kind, BulkJob("A new one", changes(1), perhaps_sent=True)) != first
    assert sandbox.admin.counters()["imports_create"] == 1


@pytest.mark.parametrize("kind", ["cut_after", "500"])
def test_an_answer_that_is_lost_leaves_the_outcome_open(sandbox: RunningSandbox, kind: str) -> None:
    of = session(sandbox)
    known = companies(of)
    sandbox.admin.fault(kind, endpoint="imports_create")
    with pytest.raises(OutcomeUnknown):
        bulk.submit(Client(of), known, BulkJob("Lost", changes(1)))


def test_an_import_that_is_going_on_or_waits_is_asked_after_later(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    sandbox.admin.config(import_rows_per_s=1)
    tokens = [bulk.submit(Client(of), kind, BulkJob(f"Load {n}", changes(50))) for n in range(4)]
    waits = [[page.after for page in bulk.collect(Client(of), kind, token, [])] for token in tokens]
    assert waits == [[5.0], [5.0], [5.0], [30.0]]
    sandbox.request("POST", f"/crm/v3/imports/{tokens[0]}/cancel")
    found, pages = collected(of, kind, tokens[0], ["i:t.c:49"])
    assert [page.note for page in pages if page.note] == [f"HubSpot's import {tokens[0]} ended as CANCELED."]
    assert found["i:t.c:49"].status is Status.NOT_SENT


def test_errors_of_many_rows_are_read_page_by_page_and_the_rest_by_search_and_by_key(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "HITS", 50)
    of = session(sandbox)
    kind = companies(of)
    sandbox.admin.config(index_lag_s=30)
    good, bad = changes(120, industry="BANKING"), changes(250, industry="ALCHEMY")[120:]
    token = bulk.submit(Client(of), kind, BulkJob("Half bad", [*good, *bad]))
    keys = [str(change.unique_key) for change in [*good, *bad]]
    unseen, pages = collected(of, kind, token, keys)  # search sees nothing yet
    sandbox.admin.advance(60)
    seen, _ = collected(of, kind, token, keys)
    assert seen == unseen
    assert max(len(page.results) for page in pages) == 100
    assert [seen[key].status for key in keys] == [Status.CREATED] * 120 + [Status.REJECTED] * 130
    there = {r["properties"][KEY.name]: r["id"] for r in sandbox.admin.live("companies")}
    assert {key: seen[key].remote_id for key in keys} == there
    error = seen[keys[-1]].error
    assert error
    assert (error.code, error.property, error.vendor_code) == (Code.INVALID_CHOICE, "industry", "INVALID_ENUMERATION_OPTION")
    assert "Add the option in HubSpot" in error.message


def test_what_was_there_before_is_updated_and_what_could_be_several_says_so(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    sandbox.admin.seed("companies", [{"name": "Held", "domain": "a.example"}])
    sandbox.admin.seed("companies", [{"name": "Twin", "domain": "b.example"}, {"name": "Twin", "domain": "b.example"}])
    sandbox.admin.advance(5)
    asked = [
        Change(str(n), Op.UPSERT, unique_key=f"i:t.c:{n}", properties={"name": "N", "domain": f"{letter}.example"})
        for n, letter in enumerate("abc")
    ]
    token = bulk.submit(Client(of), kind, BulkJob("By domain", asked, match_by="domain"))
    found, _ = collected(of, kind, token, [f"i:t.c:{n}" for n in range(3)])
    assert [found[f"i:t.c:{n}"].status for n in range(3)] == [Status.UPDATED, Status.REJECTED, Status.CREATED]
    several = found["i:t.c:1"]
    assert several.error
    assert (several.error.code, several.remote_id) == (Code.SEVERAL, None)


def test_what_cannot_be_imported_is_refused_before_anything_is_sent(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = session(sandbox)
    kind = companies(of)
    sandbox.admin.reset_counters()
    with pytest.raises(UnsupportedFeature, match="cannot match Companies by name"):
        bulk.submit(Client(of), kind, BulkJob("X", changes(1), match_by="name"))
    with pytest.raises(UnsupportedFeature, match="cannot be imported"):
        bulk.submit(Client(of), ObjectType("p1_cars", "Cars", (), {}, unique_key="k"), BulkJob("X", changes(1)))
    monkeypatch.setattr(bulk, "BYTES", 100)
    with pytest.raises(Permanent, match="HubSpot takes 100"):
        bulk.submit(Client(of), kind, BulkJob("X", changes(10)))
    assert sandbox.admin.counters()["total_calls"] == 0


def test_without_the_account_a_job_can_be_asked_after_again(sandbox: RunningSandbox) -> None:
    of = session(sandbox)
    kind = companies(of)
    token = bulk.submit(Client(of), kind, BulkJob("Later", changes(1)))
    sandbox.admin.fault("503", endpoint="imports_read", times=0)
    try:
        with pytest.raises(Retryable):
            list(bulk.collect(Client(of), kind, token, ["i:t.c:0"]))
    finally:
        sandbox.admin.clear_faults()
    assert collected(of, kind, token, ["i:t.c:0"])[0]["i:t.c:0"].status is Status.CREATED
