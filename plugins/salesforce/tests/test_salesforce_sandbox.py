"""The connector against its sandbox: catalog, reads, pulls, bulk jobs, limits, and what goes wrong meanwhile."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from syncline.contract import (
    AuthError,
    BulkJob,
    BulkResult,
    Change,
    Code,
    ConfigError,
    HeaderAuth,
    Http,
    Kind,
    ObjectType,
    Op,
    Page,
    Permanent,
    PullRequest,
    RateLimited,
    RemoteRecord,
    Retryable,
    Session,
    Status,
    UnsupportedFeature,
)
from syncline_salesforce import bulk, merges, objects, pull, push, reading
from syncline_salesforce.client import Client
from syncline_salesforce.connector import LIMITS, Salesforce
from syncline_salesforce.objects import KEY
from syncline_salesforce.sandbox.process import RunningSandbox

NOWHERE = "001zzzzzzzzzzzzAAA"


class Told:
    """A budget that remembers which headers it was shown."""

    def __init__(self) -> None:
        self.headers: list[Mapping[str, str]] = []

    def acquire(self, limit: str) -> None: ...

    def pause(self, limit: str, seconds: float) -> None: ...

    def observe(self, limit: str, headers: Mapping[str, str]) -> None:
        self.headers.append(headers)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


def session_of(sandbox: RunningSandbox, budget: Told | None = None) -> Session:
    auth = HeaderAuth({"Authorization": f"Bearer {sandbox.token}"})
    http = Http(hosts=("127.0.0.1",), auth=auth, budget=budget, patience=0)
    settings = {"instance_url": sandbox.url + "/", "api_version": "v67.0"}
    return Session(settings, http, "k3yd", logging.getLogger("test.salesforce"))


@pytest.fixture
def client(sandbox: RunningSandbox) -> Client:
    return Client(session_of(sandbox))


def of(client: Client, key: str) -> ObjectType:
    return next(one for one in objects.discover(client) if one.key == key)


@pytest.fixture
def accounts(client: Client) -> ObjectType:
    return of(client, "Account")


def names(pages: Iterable[Page]) -> list[Any]:
    return [record.properties["Name"] for page in pages for record in page.records]


def moment(record: RemoteRecord) -> dt.datetime:
    assert record.modified_at
    return record.modified_at


def test_the_account_is_named_and_every_call_says_whose_it_is(sandbox: RunningSandbox) -> None:
    found = Salesforce().check(session_of(sandbox))
    assert (found.id, found.name, found.details["IsSandbox"]) == ("00D000000000001EAA", "Sandbox", True)
    assert sandbox.admin.clients() == ["client=syncline-k3yd"]


def test_the_allowance_is_learnt_from_what_every_answer_says(sandbox: RunningSandbox) -> None:
    told = Told()
    Salesforce().check(session_of(sandbox, told))
    [(header, pattern)] = LIMITS[0].headers.items()
    assert (told.headers[0][header], pattern) == ("api-usage=1/100000", "api-usage={used}/{size}")


def test_the_catalog_has_what_people_work_with_in_few_calls(sandbox: RunningSandbox, client: Client) -> None:
    found = {one.key: one for one in objects.discover(client)}

    assert set(found) == {"Account", "Contact", "Customer__c"}
    assert sandbox.admin.calls() == ["GET /sobjects", "GET /limits/recordCount", "POST /composite/batch"]
    assert (found["Account"].unique_key, found["Customer__c"].unique_key) == (KEY, None)
    assert Op.UPSERT not in found["Customer__c"].batch_sizes
    held = {p.name: p.kind for p in found["Account"].properties}
    assert "BillingAddress" not in held
    assert (held["Industry"], held["Interests__c"], held["AnnualRevenue"]) == (Kind.CHOICE, Kind.SET, Kind.NUMBER)


class Uncounted(Client):
    """Of a user who may not see how many records there are."""

    def get(self, path: str, **params: str) -> Any:
        if path == "/limits/recordCount":
            raise ConfigError("Salesforce answered 403.")
        return super().get(path, **params)


def test_who_may_not_count_records_has_a_catalog_all_the_same(sandbox: RunningSandbox) -> None:
    found = objects.discover(Uncounted(session_of(sandbox)))
    assert {one.key: one.count for one in found} == dict.fromkeys(("Account", "Contact", "Customer__c"))


def test_twelve_hundred_of_one_moment_come_page_by_page_and_from_any_position(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "PAGE", 500)
    ids = sandbox.admin.seed("Account", [{"Name": f"n{number}"} for number in range(1200)])
    sandbox.admin.advance(60)
    sandbox.admin.edit("Account", {"Name": "m{n}"}, ids)
    since = moment(reading.fetch(client, accounts, ids[:1], ())[ids[0]])
    request = PullRequest(("Name",), since=since, until=since)

    pages = list(pull.pull(client, accounts, request))
    rest = list(pull.pull(client, accounts, replace(request, position=pages[0].position)))

    assert [len(page.records) for page in pages] == [500, 500, 200]
    assert {record.id for page in pages for record in page.records} == set(ids)
    assert rest == pages[1:]


def test_pages_that_are_smaller_than_asked_for_are_not_the_end(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType
) -> None:
    sandbox.admin.seed("Account", [{"Name": f"n{number}"} for number in range(25)])
    sandbox.admin.config(page=10)
    assert sorted(names(pull.pull(client, accounts, PullRequest(("Name",))))) == sorted(f"n{n}" for n in range(25))


@pytest.mark.parametrize(
    "position", ["", "x", "001", "2026-11-26T00:00:00Z|001000000000001AAA", "001000000000001AAA' OR Id != '"]
)
def test_a_position_of_another_pull_is_refused(client: Client, accounts: ObjectType, position: str) -> None:
    with pytest.raises(Permanent, match="Reset the position"):
        next(pull.pull(client, accounts, PullRequest(("Name",), position=position)))
    if "|" not in position:
        since = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        with pytest.raises(Permanent, match="Reset the position"):
            next(pull.pull(client, accounts, PullRequest(("Name",), position=position, since=since)))


class Stuck(Client):
    """Gives the same page for ever."""

    def query(self, soql: str, *, deleted: bool = False) -> dict[str, Any]:
        return {"done": False, "records": [] if deleted else [{"Id": "001000000000001AAA", "Name": "again"}]}


def test_a_listing_that_does_not_get_on_ends(sandbox: RunningSandbox, accounts: ObjectType) -> None:
    pages = pull.pull(Stuck(session_of(sandbox)), accounts, PullRequest(("Name",)))
    next(pages)
    with pytest.raises(Retryable, match="leads nowhere"):
        next(pages)


def test_deleted_records_are_pulled_as_archived(sandbox: RunningSandbox, client: Client, accounts: ObjectType) -> None:
    _there, gone = sandbox.admin.seed("Account", [{"Name": "there"}, {"Name": "gone"}])
    sandbox.admin.delete(gone)

    [archived] = [r for page in pull.pull(client, accounts, PullRequest(("Name",), archived=True)) for r in page.records]

    assert (archived.id, archived.archived) == (gone, True)
    assert names(pull.pull(client, accounts, PullRequest(("Name",)))) == ["there"]


def test_a_chain_of_merges_is_followed_to_the_record_that_is_left(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType
) -> None:
    first, second, third, gone = sandbox.admin.seed("Account", [{"Name": str(number)} for number in range(4)])
    sandbox.admin.merge("Account", into=second, gone=first)
    sandbox.admin.merge("Account", into=third, gone=second)
    sandbox.admin.delete(gone)

    found = reading.fetch(client, accounts, [first, second, third, gone, NOWHERE, first[:15]], ("Name",))

    assert {asked: one.id for asked, one in found.items()} == dict.fromkeys((first, second, third, first[:15]), third)
    assert merges.merged_into(client, accounts) == {second: (first,), third: (second,)}


def test_many_values_with_quotes_are_looked_up_in_queries_that_are_short_enough(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType
) -> None:
    odd = 'O\'Neil \\ Söhne % & "Co"'
    ids = sandbox.admin.seed("Account", [{"Name": odd}, {"Name": odd}])
    values = [odd.lower(), *(f"none of these {'é' * 40} {number}" for number in range(400))]
    sandbox.admin.calls()

    found = reading.match(client, accounts, "Name", values)

    assert {value: hits for value, hits in found.items() if hits} == {odd.lower(): sorted(ids)}
    assert set(found) == set(values)
    assert len(sandbox.admin.calls()) > 5
    with pytest.raises(UnsupportedFeature):
        reading.match(client, accounts, "Description", ["x"])


def test_what_is_no_name_never_gets_into_a_query(client: Client, accounts: ObjectType) -> None:
    with pytest.raises(Permanent, match="no name"):
        next(pull.pull(client, accounts, PullRequest(("Name FROM User",))))


def test_locked_records_are_sent_later_and_duplicates_name_their_twin(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType
) -> None:
    locked, free = sandbox.admin.seed("Account", [{"Name": "a"}, {"Name": "b", "Phone": "1"}])
    sandbox.admin.config(locked=[locked], duplicate_rules={"Account": "Phone"})

    updates = [Change(one, Op.UPDATE, one, properties={"Name": "new"}) for one in (locked, free)]
    results = push.push(client, accounts, updates)
    [twin] = push.push(client, accounts, [Change("x", Op.CREATE, properties={"Name": "c", "Phone": "1"})])

    assert [result.status for result in results] == [Status.NOT_SENT, Status.UPDATED]
    assert twin.error
    assert (twin.error.code, twin.error.existing_id) == (Code.CONFLICT, free)


def test_a_field_that_is_not_there_refuses_the_whole_batch(client: Client, accounts: ObjectType) -> None:
    changes = [Change(str(n), Op.CREATE, properties={"Name": "x", **({"Nope__c": "y"} if n else {})}) for n in range(2)]
    with pytest.raises(Permanent, match="Nope__c"):
        push.push(client, accounts, changes)
    [result] = push.push(client, accounts, changes[1:])
    assert result.error
    assert result.error.code is Code.UNKNOWN_PROPERTY


def test_an_ended_session_asks_for_new_credentials_and_a_used_up_allowance_for_patience(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType
) -> None:
    sandbox.admin.config(daily=1)
    with pytest.raises(RateLimited, match="TotalRequests") as caught:
        push.push(client, accounts, [Change("1", Op.CREATE, properties={"Name": "x"})])
    assert (caught.value.scope, caught.value.after) == ("daily", 900.0)
    sandbox.admin.config(daily=1000, expire=True)
    with pytest.raises(AuthError):
        client.get("/sobjects")


def job(*changes: Change) -> BulkJob:
    return BulkJob("job", changes)


def upsert(key: str, **properties: Any) -> Change:
    return Change(key, Op.UPSERT, unique_key=f"i:d:{key}", properties=properties)


def collected(client: Client, kind: ObjectType, token: str, *keys: str) -> dict[str, BulkResult]:
    pages = bulk.collect(client, kind, token, iter(f"i:d:{key}" for key in keys))
    return {result.unique_key.removeprefix("i:d:"): result for page in pages for result in page.results}


def test_a_bulk_job_tells_of_each_record_what_became_of_it(sandbox: RunningSandbox, client: Client, accounts: ObjectType) -> None:
    [there] = sandbox.admin.seed("Account", [{"Name": "old", KEY: "i:d:1", "Phone": "7"}])
    odd = 'a,b;"c"\nd — é'
    changes = (upsert("1", Name="new", Phone=None), upsert("2", Name=odd), upsert("3", Name="bad", Industry="Alchemy"))

    token = bulk.submit(client, accounts, job(*changes))
    assert [page.after for page in bulk.collect(client, accounts, token, iter(()))] == [5.0]
    sandbox.admin.advance(5)
    told = collected(client, accounts, token, "1", "2", "3", "4")

    assert [told[key].status for key in "1234"] == [Status.UPDATED, Status.CREATED, Status.REJECTED, Status.NOT_SENT]
    assert told["1"].remote_id == there
    assert told["3"].error
    assert (told["3"].error.code, told["3"].error.property) == (Code.INVALID_CHOICE, "Industry")
    read = reading.fetch(client, accounts, [there, str(told["2"].remote_id)], ("Name", "Phone"))
    assert read[there].properties == {"Name": "new", "Phone": None}
    assert read[str(told["2"].remote_id)].properties["Name"] == odd


def test_a_bulk_job_handed_in_again_finds_what_it_wrote(sandbox: RunningSandbox, client: Client, accounts: ObjectType) -> None:
    tokens = [bulk.submit(client, accounts, job(upsert("1", Name="x"), upsert("2", Name="y"))) for _ in range(2)]
    sandbox.admin.advance(5)
    first, second = (collected(client, accounts, token, "1", "2") for token in tokens)

    assert {key: one.remote_id for key, one in first.items()} == {key: one.remote_id for key, one in second.items()}
    assert [one.status for one in (first["1"], second["1"])] == [Status.CREATED, Status.UPDATED]
    assert len(names(pull.pull(client, accounts, PullRequest(("Name",))))) == 2


def test_a_file_whose_results_could_not_be_read_is_not_sent(
    sandbox: RunningSandbox, client: Client, accounts: ObjectType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BYTES", 100)
    sandbox.admin.calls()
    with pytest.raises(Permanent, match="bytes"):
        bulk.submit(client, accounts, job(upsert("1", Name="x" * 100)))
    assert sandbox.admin.calls() == []


def test_only_objects_with_our_key_are_written_in_bulk(client: Client) -> None:
    kind = of(client, "Customer__c")
    assert kind.bulk_rows == 0
    with pytest.raises(UnsupportedFeature):
        bulk.submit(client, kind, job(upsert("1", Name="x")))


def test_the_sandbox_s_command_is_the_one_that_is_described() -> None:
    described = Salesforce().sandbox()
    assert re.fullmatch(r"syncline_salesforce\.sandbox", described.command[-1])
    assert described.settings == {"instance_url": "{url}", "pubsub_url": "{pubsub_url}"}
