"""The connector against the running sandbox, over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from syncline.contract import (
    Association,
    AuthError,
    Change,
    Code,
    ConfigError,
    DatasetInfo,
    HeaderAuth,
    Http,
    Kind,
    ObjectType,
    Op,
    OutcomeUnknown,
    Permanent,
    Property,
    PullRequest,
    PushResult,
    RateLimited,
    Retryable,
    Session,
    Status,
    UnsupportedFeature,
)
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import RunningSandbox

HUB = HubSpot()
VERSIONS = ("v3", "2026-03", "2026-09")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as running:
        yield running


@pytest.fixture
def sandbox(server: RunningSandbox) -> RunningSandbox:
    server.admin.reset()
    return server


class Patient:
    """A budget without limits that notes the pauses instead of waiting."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pauses: list[tuple[str, float]] = []

    def acquire(self, limit: str) -> None:
        self.calls.append(limit)

    def pause(self, limit: str, seconds: float) -> None:
        self.pauses.append((limit, seconds))

    def observe(self, limit: str, headers: Any) -> None:
        pass


def connect(sandbox: RunningSandbox, version: str = "2026-09", token: str = "", budget: Patient | None = None) -> Session:
    http = Http(
        hosts=("127.0.0.1",),
        auth=HeaderAuth({"Authorization": f"Bearer {token or sandbox.token}"}),
        budget=budget or Patient(),
        sleep=lambda _: None,
    )
    settings = {"api_version": version, "api_url": sandbox.url, "app_url": sandbox.url, "own_key": True}
    return Session(settings=settings, http=http, installation="test", log=logging.getLogger("test.hubspot"))


@pytest.fixture
def session(sandbox: RunningSandbox) -> Session:
    return connect(sandbox)


def discover(session: Session, key: str) -> ObjectType:
    return next(found for found in HUB.discover(session=session) if found.key == key)


def keyed(session: Session, key: str = "companies") -> ObjectType:
    """The object with our own key property in place."""
    found = discover(session, key)
    HUB.create_properties(session=session, object_type=found, properties=[KEY])
    return replace(found, properties=(*found.properties, KEY), unique_key=KEY.name)


def push(session: Session, kind: ObjectType, *changes: Change) -> dict[str, PushResult]:
    results = HUB.push(session=session, object_type=kind, changes=changes)
    assert sorted(r.local_key for r in results) == sorted(c.local_key for c in changes)
    return {result.local_key: result for result in results}


def upsert(key: str, **properties: Any) -> Change:
    return Change(key, Op.UPSERT, unique_key=f"test:companies.company:{key}", properties=properties)


def test_check_names_the_account(session: Session) -> None:
    account = HUB.check(session=session)
    assert account.id.isdigit()
    assert account.id in account.url
    assert account.details["timeZone"] == "Europe/London"


def test_a_wrong_token_asks_to_reconnect(sandbox: RunningSandbox) -> None:
    with pytest.raises(AuthError, match="Reconnect"):
        HUB.check(session=connect(sandbox, token="no-such-token"))


def test_missing_scopes_are_named_when_nothing_can_be_read(sandbox: RunningSandbox) -> None:
    token = sandbox.admin.issue_token(scopes=["oauth"])
    with pytest.raises(ConfigError, match=r"crm\.(objects|schemas)\.companies\.read"):
        HUB.discover(session=connect(sandbox, token=token))


def test_objects_without_their_scope_are_left_out(sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture) -> None:
    token = sandbox.admin.issue_token(scopes=["oauth", "crm.objects.companies.read"])
    with caplog.at_level(logging.INFO, "test.hubspot"):
        found = HUB.discover(session=connect(sandbox, token=token))
    assert [kind.key for kind in found] == ["companies"]
    assert found[0].property("hubspot_owner_id") is not None
    assert "Contacts left out" in caplog.text
    assert "Owners are not offered" in caplog.text


def test_discovers_standard_objects_with_properties_and_counts(sandbox: RunningSandbox, session: Session) -> None:
    sandbox.admin.seed("companies", [{"name": f"C{n}"} for n in range(7)])
    found = {kind.key: kind for kind in HUB.discover(session=session)}
    assert list(found) == ["companies", "contacts", "deals", "owners"]
    companies = found["companies"]
    assert (companies.count, companies.unique_key, companies.key_property) == (7, None, KEY)
    assert companies.batch_sizes[Op.ASSOCIATE] == 2000
    assert {a.object_type for a in companies.associations} == {"contacts", "deals"}
    additional, modified = companies.property("hs_additional_domains"), companies.property("hs_lastmodifieddate")
    assert additional is not None
    assert (additional.kind, additional.read_only) == (Kind.SET, False)
    assert modified is not None
    assert (modified.kind, modified.read_only) == (Kind.DATETIME, True)
    email, dealname = found["contacts"].property("email"), found["deals"].property("dealname")
    assert email is not None
    assert email.unique
    assert dealname is not None
    assert dealname.required


def test_owners_are_the_choices_of_the_owner_property(session: Session) -> None:
    owner = discover(session, "companies").property("hubspot_owner_id")
    assert owner is not None
    assert owner.choices
    assert all(choice.value.isdigit() and "@" in choice.label for choice in owner.choices)
    assert owner.schema["enum"] == [choice.value for choice in owner.choices]


def test_pipelines_and_their_stages_are_choices_of_a_deal(session: Session) -> None:
    deals = discover(session, "deals")
    stage, pipeline = deals.property("dealstage"), deals.property("pipeline")
    assert stage is not None
    assert pipeline is not None
    assert [choice.value for choice in pipeline.choices] == ["default"]
    assert ("closedwon", "Closed Won") in {(choice.value, choice.label) for choice in stage.choices}
    assert stage.schema["enum"] == [choice.value for choice in stage.choices]


def test_custom_objects_are_discovered_and_written(session: Session) -> None:
    body = {
        "name": "cars",
        "labels": {"singular": "Car", "plural": "Cars"},
        "requiredProperties": ["plate"],
        "properties": [{"name": "plate", "label": "Plate", "type": "string", "fieldType": "text"}],
    }
    session.http.request("POST", f"{session.settings['api_url']}/crm-object-schemas/2026-09/schemas", json=body)
    cars = next(kind for kind in HUB.discover(session=session) if kind.title == "Cars")
    plate = cars.property("plate")
    assert plate is not None
    assert plate.required
    assert push(session, cars, Change("1", Op.CREATE, properties={"plate": "X 1"}))["1"].status is Status.CREATED
    pages = list(HUB.pull(session=session, object_type=cars, request=PullRequest(("plate",))))
    assert [record.properties["plate"] for page in pages for record in page.records] == ["X 1"]


def test_a_search_that_fails_leaves_the_count_open(sandbox: RunningSandbox, session: Session) -> None:
    sandbox.admin.fault("500", endpoint="search", times=0)
    assert discover(session, "companies").count is None


def test_creates_missing_properties_once(sandbox: RunningSandbox, session: Session) -> None:
    companies = discover(session, "companies")
    wanted = [
        Property("syncline_total", "Total", Kind.NUMBER),
        Property("syncline_day", "Day", Kind.DATE),
        Property("syncline_flag", "Flag", Kind.BOOLEAN),
        KEY,
    ]
    names = [p.name for p in wanted]
    assert list(HUB.create_properties(session=session, object_type=companies, properties=wanted)) == names
    assert list(HUB.create_properties(session=session, object_type=companies, properties=wanted)) == []
    again = discover(session, "companies")
    assert again.unique_key == KEY.name
    assert {name: again.property(name).kind for name in names} == {p.name: p.kind for p in wanted}  # type: ignore[union-attr]


def test_a_property_that_cannot_be_created_is_named_and_the_others_are_there(session: Session) -> None:
    companies = discover(session, "companies")
    wanted = [Property("Bad Name", "Bad"), Property("syncline_good", "Good")]
    with pytest.raises(Permanent, match=r"Companies could not be created.*Bad Name"):
        HUB.create_properties(session=session, object_type=companies, properties=wanted)
    assert discover(session, "companies").property("syncline_good") is not None


def test_a_key_property_that_is_not_unique_is_not_used(session: Session) -> None:
    companies = discover(session, "companies")
    HUB.create_properties(session=session, object_type=companies, properties=[replace(KEY, unique=False)])
    common = discover(session, "companies")
    assert common.unique_key is None
    with pytest.raises(ConfigError, match="not unique"):
        HUB.create_properties(session=session, object_type=common, properties=[KEY])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_writes_and_reads_the_same(sandbox: RunningSandbox, version: str) -> None:
    session = connect(sandbox, version)
    companies, contacts = keyed(session), discover(session, "contacts")
    first = push(session, companies, *[upsert(str(n), name=f"C{n}") for n in range(100)])
    assert {result.status for result in first.values()} == {Status.CREATED}
    second = push(session, companies, *[upsert(str(n), name=f"D{n}") for n in range(100)])
    assert {result.status for result in second.values()} == {Status.UPDATED}
    assert {k: r.remote_id for k, r in first.items()} == {k: r.remote_id for k, r in second.items()}
    person = push(session, contacts, Change("p", Op.CREATE, properties={"email": "A@x.io"}))["p"]
    ends = (Association("companies", first["7"].remote_id or ""),)
    linked = push(session, contacts, Change("p", Op.ASSOCIATE, remote_id=person.remote_id, associations=ends))
    assert linked["p"].status is Status.UPDATED
    (held,) = sandbox.admin.live("contacts")
    assert held["associations"] == {"companies": [first["7"].remote_id]}
    names = {record["id"]: record["properties"]["name"] for record in sandbox.admin.live("companies")}
    assert names == {result.remote_id: f"D{key}" for key, result in first.items()}
    apart = (replace(ends[0], remove=True),)
    push(session, contacts, Change("p", Op.ASSOCIATE, remote_id=person.remote_id, associations=apart))
    push(session, companies, Change("7", Op.ARCHIVE, remote_id=first["7"].remote_id))
    assert sandbox.admin.live("contacts")[0]["associations"] == {}
    assert len(sandbox.admin.live("companies")) == 99


def test_refused_records_do_not_stop_the_others(sandbox: RunningSandbox, session: Session) -> None:
    companies = keyed(session)
    gone = push(session, companies, upsert("gone", name="G"))["gone"].remote_id
    sandbox.admin.delete("companies", gone or "")
    stay = push(session, companies, upsert("stay", name="S"))["stay"].remote_id
    updates = [
        Change("a", Op.UPDATE, remote_id=stay, properties={"name": "S2"}),
        Change("b", Op.UPDATE, remote_id=gone, properties={"name": "G2"}),
    ]
    results = push(session, companies, *updates)
    assert results["a"].status is Status.UPDATED
    assert results["b"].error is not None
    assert results["b"].error.code is Code.NOT_FOUND
    bad = push(
        session,
        companies,
        upsert("ok", name="O"),
        upsert("long", name="x" * 65_537),
        upsert("choice", name="C", industry="NOPE"),
        upsert("fixed", name="F", hs_object_id="1"),
        upsert("new", name="N", no_such_property="1"),
        upsert("number", name="N", annualrevenue="1,5"),
    )
    codes = {key: result.error.code for key, result in bad.items() if result.error}
    assert codes == {
        "long": Code.TOO_LONG,
        "choice": Code.INVALID_CHOICE,
        "fixed": Code.READ_ONLY,
        "new": Code.UNKNOWN_PROPERTY,
        "number": Code.INVALID_VALUE,
    }
    error = bad["choice"].error
    assert error is not None
    assert error.property == "industry"
    assert bad["ok"].status is Status.CREATED


def test_an_email_that_is_taken_names_its_record(session: Session) -> None:
    contacts = discover(session, "contacts")
    first = push(session, contacts, Change("1", Op.CREATE, properties={"email": "a@x.io"}))["1"].remote_id
    both = [Change("2", Op.CREATE, properties={"email": "A@X.io"}), Change("3", Op.CREATE, properties={"email": "b@x.io"})]
    results = push(session, contacts, *both)
    assert results["3"].status is Status.CREATED
    error = results["2"].error
    assert error is not None
    assert (error.code, error.existing_id) == (Code.CONFLICT, first)


def test_associating_with_a_record_that_is_gone(session: Session) -> None:
    contacts = discover(session, "contacts")
    made = push(session, contacts, *[Change(k, Op.CREATE, properties={"email": f"{k}@x.io"}) for k in "ab"])
    company = push(session, discover(session, "companies"), Change("c", Op.CREATE, properties={"name": "C"}))["c"].remote_id

    def linked(key: str, remote_id: str | None, to: str | None) -> Change:
        return Change(key, Op.ASSOCIATE, remote_id=remote_id, associations=(Association("companies", to or ""),))

    changes = [linked("a", made["a"].remote_id, company), linked("b", made["b"].remote_id, "99"), linked("c", "77", company)]
    results = push(session, contacts, *changes)
    assert results["a"].status is Status.UPDATED
    codes = {key: result.error.code for key, result in results.items() if result.error}
    assert codes == {"b": Code.OTHER, "c": Code.NOT_FOUND}


def test_nothing_is_sent_twice_when_the_connection_is_cut_after_the_write(sandbox: RunningSandbox, session: Session) -> None:
    companies = discover(session, "companies")
    sandbox.admin.fault("cut_after", endpoint="batch_create")
    with pytest.raises(OutcomeUnknown):
        push(session, companies, Change("1", Op.CREATE, properties={"name": "Once"}))
    assert len(sandbox.admin.live("companies")) == 1
    assert sandbox.admin.counters()["batch_create"] == 1


@pytest.mark.parametrize("fault", ["500", "502", "html", "partial_write_then_500"])
def test_writes_without_a_usable_answer_are_unknown(sandbox: RunningSandbox, session: Session, fault: str) -> None:
    companies = discover(session, "companies")
    sandbox.admin.fault(fault, endpoint="batch_create")
    with pytest.raises(OutcomeUnknown):
        push(session, companies, *[Change(str(n), Op.CREATE, properties={"name": "x"}) for n in range(4)])


def test_an_answer_without_results_is_unknown(sandbox: RunningSandbox, session: Session) -> None:
    companies = discover(session, "companies")
    sandbox.admin.fault("empty_results", endpoint="batch_create")
    results = push(session, companies, Change("1", Op.CREATE, properties={"name": "x"}))
    assert results["1"].status is Status.UNKNOWN


@pytest.mark.parametrize("fault", ["500", "cut_before", "cut_after"])
def test_reads_are_repeated(sandbox: RunningSandbox, session: Session, fault: str) -> None:
    (asked,) = sandbox.admin.seed("companies", [{"name": "A"}])
    companies = discover(session, "companies")
    sandbox.admin.fault(fault, endpoint="batch_read")
    found = HUB.fetch(session=session, object_type=companies, ids=[asked], properties=["name"], associations=(), history=())
    assert found[asked].properties["name"] == "A"


def test_a_page_in_place_of_data_is_tried_again_later(sandbox: RunningSandbox, session: Session) -> None:
    companies = discover(session, "companies")
    sandbox.admin.fault("html", endpoint="batch_read")
    with pytest.raises(Retryable, match="page instead of data"):
        HUB.fetch(session=session, object_type=companies, ids=["1"], properties=["name"], associations=(), history=())


@pytest.mark.parametrize(
    ("fault", "endpoint", "limit", "seconds"),
    [
        ("429_general", "batch_create", "general", 2.0),
        ("429_search", "search", "search", 1.0),
        ("423", "batch_create", "general", 2.0),
    ],
)
def test_refused_for_now_is_waited_for(sandbox: RunningSandbox, fault: str, endpoint: str, limit: str, seconds: float) -> None:
    budget = Patient()
    session = connect(sandbox, budget=budget)
    sandbox.admin.fault(fault, endpoint=endpoint)
    companies = discover(session, "companies")
    created = push(session, companies, Change("1", Op.CREATE, properties={"name": "x"}))
    assert created["1"].status is Status.CREATED
    assert budget.pauses == [(limit, seconds)]
    assert len(sandbox.admin.live("companies")) == 1


def test_a_day_used_up_is_not_waited_for(sandbox: RunningSandbox, session: Session) -> None:
    companies = discover(session, "companies")
    sandbox.admin.fault("429_daily", endpoint="batch_create")
    with pytest.raises(RateLimited) as caught:
        push(session, companies, Change("1", Op.CREATE, properties={"name": "x"}))
    assert caught.value.after == 3600
    assert sandbox.admin.live("companies") == []


def test_fetch_finds_the_survivor_of_a_merge_and_leaves_out_the_dead(sandbox: RunningSandbox, session: Session) -> None:
    one, two, three, four = sandbox.admin.seed("companies", [{"name": n, "domain": f"{n}.io"} for n in "abcd"])
    survivor = sandbox.admin.merge("companies", two, into=one)
    sandbox.admin.delete("companies", three)
    companies = discover(session, "companies")
    asked = [one, two, three, four, four, "404"]
    found = HUB.fetch(
        session=session, object_type=companies, ids=asked, properties=["name", "createdate"], associations=(), history=()
    )
    assert {key: record.id for key, record in found.items()} == {one: survivor, two: survivor, four: four}
    created = found[four].properties["createdate"]
    assert isinstance(created, str)
    assert created.endswith("Z")
    assert len(created) == len("2026-12-31T00:00:00.000Z")


def test_people_are_matched_by_any_of_their_emails(sandbox: RunningSandbox, session: Session) -> None:
    one, two = sandbox.admin.seed("contacts", [{"email": "a@x.io"}, {"email": "b@x.io"}])
    survivor = sandbox.admin.merge("contacts", two, into=one)
    contacts = discover(session, "contacts")
    found = HUB.match(session=session, object_type=contacts, step="email", values=["a@x.io", "b@x.io", "c@x.io"])
    assert {value: list(ids) for value, ids in found.items()} == {"a@x.io": [survivor], "b@x.io": [survivor], "c@x.io": []}


def test_companies_are_matched_by_our_key_at_once_and_never_by_domain(sandbox: RunningSandbox, session: Session) -> None:
    companies = keyed(session)
    made = push(session, companies, *[upsert(str(n), name=f"C{n}") for n in range(3)])
    keys = [f"test:companies.company:{n}" for n in range(4)]
    found = HUB.match(session=session, object_type=companies, step=KEY.name, values=keys)
    assert [list(found[key]) for key in keys] == [*[[made[str(n)].remote_id] for n in range(3)], []]
    with pytest.raises(UnsupportedFeature, match="list"):
        HUB.match(session=session, object_type=companies, step="domain", values=["x.io"])


@pytest.mark.parametrize("many_properties", [False, True])
def test_pull_goes_on_from_any_position(sandbox: RunningSandbox, session: Session, many_properties: bool) -> None:
    ids = sandbox.admin.seed("companies", [{"name": f"C{n}", "annualrevenue": n} for n in range(250)])
    companies = discover(session, "companies")
    more = tuple(f"property_number_{n}" for n in range(900)) if many_properties else ()
    request = PullRequest(("name", "annualrevenue", *more))
    pages = list(HUB.pull(session=session, object_type=companies, request=request))
    assert [len(page.records) for page in pages] == [100, 100, 50]
    assert sandbox.admin.counters().get("batch_read", 0) == (3 if many_properties else 0)  # their names fit no address
    assert pages[-1].position is None
    assert sorted(record.id for page in pages for record in page.records) == sorted(ids)
    assert {record.properties["annualrevenue"] for page in pages for record in page.records} == set(range(250))
    rest = list(HUB.pull(session=session, object_type=companies, request=replace(request, position=pages[0].position)))
    assert [record.id for page in rest for record in page.records] == [r.id for page in pages[1:] for r in page.records]


def test_what_is_written_is_what_is_read(session: Session) -> None:
    companies = keyed(session)
    wanted = [Property("syncline_day", "Day", Kind.DATE), Property("syncline_flag", "Flag", Kind.BOOLEAN)]
    HUB.create_properties(session=session, object_type=companies, properties=wanted)
    companies = discover(session, "companies")
    values = {"name": "Ünïcode & Söhne", "annualrevenue": 10**12, "syncline_day": "2024-02-29", "syncline_flag": False}
    made = push(session, companies, upsert("1", **values))["1"].remote_id or ""
    found = HUB.fetch(session=session, object_type=companies, ids=[made], properties=list(values), associations=(), history=())
    assert {name: found[made].properties[name] for name in values} == values
    push(session, companies, Change("1", Op.UPDATE, remote_id=made, properties=dict.fromkeys(values, None) | {"name": "N"}))
    cleared = HUB.fetch(session=session, object_type=companies, ids=[made], properties=list(values), associations=(), history=())
    assert {name: cleared[made].properties[name] for name in values} == dict.fromkeys(values, None) | {"name": "N"}


def test_without_a_key_of_our_own_none_is_offered_or_used(session: Session) -> None:
    keyed(session)
    plain = replace(session, settings={**session.settings, "own_key": False})
    companies = discover(plain, "companies")
    assert (companies.unique_key, companies.key_property) == (None, None)
    with pytest.raises(UnsupportedFeature):
        push(plain, companies, upsert("1", name="A"))
    suggested = HUB.suggest_mapping(dataset=DatasetInfo("companies.company", "Companies", ()), object_type=companies)
    assert KEY not in suggested.create


def test_a_lost_key_property_is_told_as_a_matter_of_settings(sandbox: RunningSandbox, session: Session) -> None:
    companies = keyed(session)
    sandbox.admin.delete_property("companies", KEY.name)
    with pytest.raises(ConfigError, match="syncline_key"):
        push(session, companies, upsert("1", name="A"), upsert("2", name="B"))


def test_calls_count_against_the_limits_they_belong_to(sandbox: RunningSandbox) -> None:
    budget = Patient()
    session = connect(sandbox, budget=budget)
    discover(session, "companies")
    assert budget.calls.count("search") == 3
    assert set(budget.calls) == {"search", "general"}


def test_the_sandbox_is_offered_with_settings_that_lead_to_it() -> None:
    offered = HUB.sandbox()
    assert offered.command[1:] == ("-m", "syncline_hubspot.sandbox")
    assert set(offered.settings) <= set(HUB.describe().settings_schema["properties"])
