"""Pulls from the running sandbox: whole, what changed, archived; with merges, associations, histories and owners."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from syncline.contract import (
    Change,
    HeaderAuth,
    Http,
    ObjectType,
    Op,
    Page,
    PullRequest,
    RemoteRecord,
    Retryable,
    Session,
    UnsupportedFeature,
)
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import RunningSandbox

HUB = HubSpot()
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as running:
        yield running


@pytest.fixture
def sandbox(server: RunningSandbox) -> Iterator[RunningSandbox]:
    server.admin.reset()
    yield server
    server.admin.config(associations_page=500, index_lag_s=0.0)


def connect(sandbox: RunningSandbox, version: str = "2026-09") -> Session:
    auth = HeaderAuth({"Authorization": f"Bearer {sandbox.token}"})
    http = Http(hosts=("127.0.0.1",), auth=auth, sleep=lambda _: None)
    settings = {"api_version": version, "api_url": sandbox.url, "app_url": sandbox.url, "own_key": True}
    return Session(settings=settings, http=http, installation="test", log=logging.getLogger("test.hubspot"))


@pytest.fixture
def session(sandbox: RunningSandbox) -> Session:
    return connect(sandbox)


def discover(session: Session, key: str) -> ObjectType:
    return next(found for found in HUB.discover(session=session) if found.key == key)


def pages(session: Session, kind: ObjectType, request: PullRequest) -> list[Page]:
    return list(HUB.pull(session=session, object_type=kind, request=request))


def pull(session: Session, key: str, *properties: str, **more: Any) -> dict[str, RemoteRecord]:
    found = pages(session, discover(session, key), PullRequest(properties, **more))
    assert found[-1].position is None
    return {record.id: record for page in found for record in page.records}


def fetch(session: Session, key: str, ids: Sequence[str], *associations: str) -> dict[str, RemoteRecord]:
    kind = discover(session, key)
    return dict(HUB.fetch(session=session, object_type=kind, ids=ids, properties=["name"], associations=associations, history=()))


def companies(sandbox: RunningSandbox, count: int) -> list[str]:
    return sandbox.admin.seed("companies", [{"name": f"C{n}", "createdate": LONG_AGO} for n in range(count)])


def now(sandbox: RunningSandbox) -> dt.datetime:
    return dt.datetime.fromtimestamp(sandbox.admin.now(), dt.UTC)


def test_twelve_thousand_records_of_one_instant_all_arrive_also_in_pieces(sandbox: RunningSandbox, session: Session) -> None:
    ids = companies(sandbox, 12_000)
    since = now(sandbox)
    sandbox.admin.edit("companies", {"city": "Leeds"})
    kind = discover(session, "companies")
    request = PullRequest(("city",), since=since, until=now(sandbox))
    assert len({one["properties"]["hs_lastmodifieddate"] for one in sandbox.admin.live("companies", ids=ids[0])}) == 1
    whole = pages(session, kind, request)
    found = [record.id for page in whole for record in page.records]
    assert sorted(found[:12_000]) == sorted(ids)
    assert whole[0].total == 12_000
    assert {record.modified_at for page in whole[:60] for record in page.records} == {whole[0].records[0].modified_at}
    for place in (0, 29, 58, len(whole) - 2):
        position = whole[place].position
        rest = [r.id for page in pages(connect(sandbox), kind, replace(request, position=position)) for r in page.records]
        assert rest == [record.id for page in whole[place + 1 :] for record in page.records]


def test_whoever_goes_on_from_a_position_never_comes_back_to_it(sandbox: RunningSandbox, session: Session) -> None:
    """The host takes that for a listing without an end: the last page of a search is a place like any other."""
    companies(sandbox, 450)
    kind = discover(session, "companies")
    request = PullRequest(("name",), since=now(sandbox) - dt.timedelta(hours=1))
    places = [page.position for page in pages(session, kind, request) if page.position]
    assert any(not place.startswith("new:") for place in places), "a part of them is found by searching"
    for place in places:
        later = [page.position for page in pages(session, kind, replace(request, position=place))]
        assert place not in later
        assert later[-1] is None


def test_what_changed_after_the_upper_end_waits_for_the_next_pull(sandbox: RunningSandbox, session: Session) -> None:
    one, two, three = companies(sandbox, 3)
    since = now(sandbox)
    sandbox.admin.edit("companies", {"city": "Leeds"}, [one, three])
    sandbox.admin.advance(5)
    until = now(sandbox)
    sandbox.admin.advance(5)
    sandbox.admin.edit("companies", {"city": "York"}, [two, three])
    kind = discover(session, "companies")
    first = pages(session, kind, PullRequest(("city",), since=since, until=until))[0]
    assert [record.id for record in first.records] == [one]
    later = pages(session, kind, PullRequest(("city",), since=until, until=now(sandbox)))[0]
    assert [record.id for record in later.records] == [two, three]


def test_archived_records_are_listed_with_the_moment_they_went(sandbox: RunningSandbox, session: Session) -> None:
    old, new, back, _ = companies(sandbox, 4)
    sandbox.admin.delete("companies", old)
    sandbox.admin.advance(100)
    since = now(sandbox)
    sandbox.admin.delete("companies", new)
    sandbox.admin.delete("companies", back)
    sandbox.admin.restore("companies", back)
    gone = pull(session, "companies", "name", archived=True)
    assert set(gone) == {old, new}
    assert all(record.archived for record in gone.values())
    assert gone[new].properties["name"] == "C1"
    assert set(pull(session, "companies", "name", archived=True, since=since)) == {new}
    assert back in pull(session, "companies", "name")


def test_an_archive_of_several_pages_keeps_its_place_where_nothing_went_lately(sandbox: RunningSandbox, session: Session) -> None:
    ids = companies(sandbox, 250)
    for start in range(0, 250, 100):
        inputs = [{"id": one} for one in ids[start : start + 100]]
        sandbox.request("POST", "/crm/v3/objects/companies/batch/archive", {"inputs": inputs})
    sandbox.admin.advance(100)
    (late,) = companies(sandbox, 1)
    since = now(sandbox)
    sandbox.admin.delete("companies", late)
    kind = discover(session, "companies")
    request = PullRequest((), archived=True, since=since)
    found = pages(session, kind, request)
    assert [len(page.records) for page in found] == [0, 0, 1]
    assert [record.id for record in pages(session, kind, replace(request, position=found[1].position))[0].records] == [late]


@pytest.mark.parametrize("key", ["companies", "contacts", "deals"])
@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_a_survivor_names_who_was_merged_into_it_though_nobody_asked(sandbox: RunningSandbox, version: str, key: str) -> None:
    values = {"name": "A"} if key == "companies" else {"dealname": "D", "dealstage": "closedwon"}
    one, two, three = sandbox.admin.seed(key, [{"email": f"{n}@x.io"} if key == "contacts" else values for n in "abc"])
    session, since = connect(sandbox, version), now(sandbox)
    first = sandbox.admin.merge(key, two, into=one)
    last = sandbox.admin.merge(key, three, into=first)
    for found in (pull(session, key, "createdate"), pull(session, key, "createdate", since=since), fetch(session, key, [one])):
        (survivor,) = found.values()
        assert survivor.id == last
        assert set(survivor.merged) == {one, two, first, three}


def linked(sandbox: RunningSandbox) -> tuple[list[str], list[str]]:
    """Three companies, of which the first has five people, the second one, the third nobody."""
    firms = companies(sandbox, 3)
    people = sandbox.admin.seed("contacts", [{"email": f"{n}@x.io"} for n in range(5)])
    sandbox.admin.link("contacts", "companies", [(one, firms[0]) for one in people] + [(people[0], firms[1])])
    return firms, people


@pytest.mark.parametrize("page", [500, 2])
@pytest.mark.parametrize("version", ["v3", "2026-09"])
def test_associations_are_complete_in_lists_searches_and_reads(sandbox: RunningSandbox, page: int, version: str) -> None:
    since, session = now(sandbox), connect(sandbox, version)
    firms, people = linked(sandbox)
    sandbox.admin.edit("companies", {"city": "Leeds"})
    sandbox.admin.config(associations_page=page)
    for found in (
        pull(session, "companies", "name", associations=("contacts", "deals")),
        pull(session, "companies", "name", associations=("contacts", "deals"), since=since),
        fetch(session, "companies", firms, "contacts", "deals"),
    ):
        assert [sorted(found[one].associations["contacts"]) for one in firms] == [people, people[:1], []]
        assert [found[one].associations["deals"] for one in firms] == [(), (), ()]
    assert set(pull(session, "companies", "name")[firms[0]].associations) == set()


def test_a_list_tells_associations_without_further_calls(sandbox: RunningSandbox, session: Session) -> None:
    linked(sandbox)
    pull(session, "companies", "name", associations=("contacts", "deals"))
    assert sandbox.admin.counters().get("associations_read", 0) == 0


def test_a_label_does_not_double_an_association(sandbox: RunningSandbox, session: Session) -> None:
    (firm,), (person,) = companies(sandbox, 1), sandbox.admin.seed("contacts", [{"email": "a@x.io"}])
    path = f"/crm/v4/objects/contacts/{person}/associations/companies/{firm}"
    sandbox.request("PUT", path, [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}])
    assert pull(session, "contacts", associations=("companies",))[person].associations == {"companies": (firm,)}


def test_associations_of_a_merged_record_are_those_of_the_survivor(sandbox: RunningSandbox, session: Session) -> None:
    firms, people = linked(sandbox)
    survivor = sandbox.admin.merge("companies", firms[1], into=firms[2])
    found = fetch(session, "companies", [firms[1], firms[2]], "contacts")
    assert {asked: (one.id, one.associations["contacts"]) for asked, one in found.items()} == {
        firms[1]: (survivor, (people[0],)),
        firms[2]: (survivor, (people[0],)),
    }


def test_custom_objects_are_pulled_with_their_associations(sandbox: RunningSandbox, session: Session) -> None:
    plate = {"name": "plate", "label": "Plate", "type": "string", "fieldType": "text"}
    body = {"name": "cars", "labels": {"singular": "Car", "plural": "Cars"}, "properties": [plate]}
    key = sandbox.request("POST", "/crm-object-schemas/v3/schemas", body).json()["objectTypeId"]
    (car,), (firm,) = sandbox.admin.seed(key, [{"plate": "X 1"}]), companies(sandbox, 1)
    sandbox.admin.link(key, "companies", [(car, firm)])
    assert pull(session, key, "plate", associations=("companies",))[car].associations == {"companies": (firm,)}
    assert pull(session, "companies", associations=(key,))[firm].associations == {key: (car,)}


def edited(sandbox: RunningSandbox, count: int = 1) -> list[str]:
    ids = companies(sandbox, count)
    sandbox.admin.advance(10)
    sandbox.admin.edit("companies", {"name": "Second", "numberofemployees": "5"})
    sandbox.admin.advance(10)
    for start in range(0, count, 100):
        inputs = [{"id": one, "properties": {"name": "Third", "numberofemployees": ""}} for one in ids[start : start + 100]]
        sandbox.request("POST", "/crm/v3/objects/companies/batch/update", {"inputs": inputs})
    return ids


@pytest.mark.parametrize("how", ["whole", "since", "archived", "long"])
def test_histories_come_newest_first_with_who_wrote_them(sandbox: RunningSandbox, session: Session, how: str) -> None:
    since = now(sandbox)
    (one,) = edited(sandbox)
    more: dict[str, Any] = {"since": since} if how == "since" else {}
    if how == "archived":
        sandbox.admin.delete("companies", one)
        more = {"archived": True}
    names = tuple(f"property_number_{n}" for n in range(900)) if how == "long" else ("name",)
    found = pull(session, "companies", *names, history=("name", "numberofemployees"), **more)[one]
    past = found.history["name"]
    assert [(each.value, each.by) for each in past] == [("Third", "INTEGRATION"), ("Second", "CRM_UI"), ("C0", "INTEGRATION")]
    assert [each.at for each in past] == sorted((each.at for each in past), reverse=True)
    assert [each.value for each in found.history["numberofemployees"]] == [None, 5]


@pytest.mark.parametrize("since", [False, True])
def test_histories_take_pages_of_fifty(sandbox: RunningSandbox, session: Session, since: bool) -> None:
    more = {"since": now(sandbox)} if since else {}
    ids = edited(sandbox, 120)
    found = pull(session, "companies", "name", history=("name",), **more)
    assert sorted(found) == sorted(ids)
    assert {len(record.history["name"]) for record in found.values()} == {3}


def test_a_hollow_answer_in_the_middle_loses_nothing(sandbox: RunningSandbox, session: Session) -> None:
    since = now(sandbox)
    ids = companies(sandbox, 450)
    sandbox.admin.edit("companies", {"city": "Leeds"})
    kind = discover(session, "companies")
    for endpoint, request in (("list", PullRequest(("name",))), ("search", PullRequest(("name",), since=since))):
        sandbox.admin.fault("empty_results", endpoint=endpoint, skip=1)
        found = pages(session, kind, request)
        assert {record.id for page in found for record in page.records} == set(ids)
    sandbox.admin.fault("empty_results", endpoint="list", skip=1, times=2)
    with pytest.raises(Retryable, match="empty page in the middle"):
        pages(session, kind, PullRequest(("name",)))


def test_an_account_without_records_gives_one_empty_page(sandbox: RunningSandbox, session: Session) -> None:
    (page,) = pages(session, discover(session, "deals"), PullRequest(("dealname",), associations=("companies",)))
    assert (list(page.records), page.position) == ([], None)


def test_owners_are_read_and_never_written(sandbox: RunningSandbox, session: Session) -> None:
    teams = [{"id": "1", "name": "South", "primary": True}, {"id": "2", "name": "North", "primary": False}]
    sandbox.admin.owners({"id": "32900489", "teams": teams}, {"firstName": "Gone", "lastName": "Person", "archived": True})
    kind = discover(session, "owners")
    names = tuple(p.name for p in kind.properties)
    assert (dict(kind.batch_sizes), kind.key_property, kind.pull_since, kind.count) == ({}, None, False, 3)
    assert all(p.read_only for p in kind.properties)
    living = pull(session, "owners", *names)
    assert living["32900489"].properties == {
        "id": "32900489",
        "email": "ada.marsh@sandbox.example",
        "firstName": "Ada",
        "lastName": "Marsh",
        "userId": 88842095,
        "teams": ("North", "South"),
        "archived": False,
    }
    assert len(living) == 3
    (gone,) = pull(session, "owners", "firstName", archived=True, since=now(sandbox)).values()
    assert (gone.properties, gone.archived) == ({"firstName": "Gone"}, True)
    for ids in ([*living, gone.id, "404", "odd"], [*living, gone.id, "404", "odd", *map(str, range(20))]):
        found = HUB.fetch(session=session, object_type=kind, ids=ids, properties=["email"], associations=(), history=())
        assert set(found) == set(living)
    with pytest.raises(UnsupportedFeature):
        HUB.push(session=session, object_type=kind, changes=[Change("1", Op.UPDATE, remote_id="32900489")])
    with pytest.raises(UnsupportedFeature):
        HUB.create_properties(session=session, object_type=kind, properties=[KEY])


def test_owners_take_several_pages(sandbox: RunningSandbox, session: Session) -> None:
    sandbox.admin.owners(*[{"firstName": f"O{n}", "lastName": "X"} for n in range(147)])
    kind = discover(session, "owners")
    found = pages(session, kind, PullRequest(("firstName",)))
    assert [len(page.records) for page in found] == [100, 50]
    again = pages(session, kind, PullRequest(("firstName",), position=found[0].position))
    assert [record.id for record in again[0].records] == [record.id for record in found[1].records]


def test_no_owner_is_offered_without_the_scope(sandbox: RunningSandbox, session: Session) -> None:
    token = sandbox.admin.issue_token(scopes=["oauth", "crm.objects.companies.read"])
    auth = HeaderAuth({"Authorization": f"Bearer {token}"})
    bare = replace(session, http=Http(hosts=("127.0.0.1",), auth=auth, sleep=lambda _: None))
    assert [kind.key for kind in HUB.discover(session=bare)] == ["companies"]
