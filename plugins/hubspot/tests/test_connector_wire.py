"""Pure parts of the connector: values, paths, waits, errors, suggested mappings."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import orjson
import pytest
from syncline.contract import (
    Code,
    ConfigError,
    DatasetInfo,
    Kind,
    ObjectType,
    Pause,
    Property,
    Response,
    Value,
)
from syncline_hubspot.client import APIS, Client, limit_of, versioned
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.errors import Refused, failure, record_error
from syncline_hubspot.properties import KEY, read
from syncline_hubspot.waits import Waits
from syncline_hubspot.wire import from_wire, to_wire

pytestmark = pytest.mark.unit

CASES: list[tuple[Kind, str, Value]] = [
    (Kind.STRING, "Größe", "Größe"),
    (Kind.NUMBER, "1500000", 1500000),
    (Kind.NUMBER, "1.5E6", 1500000),
    (Kind.NUMBER, "0.10", Decimal("0.1")),
    (Kind.NUMBER, "-3.0", -3),
    (Kind.BOOLEAN, "true", True),
    (Kind.BOOLEAN, "false", False),
    (Kind.DATE, "2026-12-31", "2026-12-31"),
    (Kind.DATE, "1798675200000", "2026-12-31"),
    (Kind.DATETIME, "2026-12-31T00:00:00Z", "2026-12-31T00:00:00.000Z"),
    (Kind.DATETIME, "1798675200123", "2026-12-31T00:00:00.123Z"),
    (Kind.DATETIME, "2026-12-31T01:00:00+01:00", "2026-12-31T00:00:00.000Z"),
    (Kind.SET, ";b;a;b", ("a", "b")),
    (Kind.CHOICE, "LEAD", "LEAD"),
    (Kind.EMAIL, " Ada@Example.COM ", "ada@example.com"),
]


@pytest.mark.parametrize(("kind", "raw", "canonical"), CASES)
def test_reads_canonical_values(kind: Kind, raw: str, canonical: Value) -> None:
    assert from_wire(kind, "any", raw) == canonical


@pytest.mark.parametrize(("kind", "raw", "canonical"), CASES)
def test_what_is_written_reads_the_same(kind: Kind, raw: str, canonical: Value) -> None:
    assert from_wire(kind, "any", to_wire(canonical)) == canonical


@pytest.mark.parametrize("kind", list(Kind))
def test_empty_is_no_value_both_ways(kind: Kind) -> None:
    assert to_wire(None) == ""
    assert from_wire(kind, "any", "") is None
    assert from_wire(kind, "any", None) is None


def test_numbers_are_written_without_exponent() -> None:
    assert to_wire(Decimal("1E+3")) == "1000"
    assert to_wire(10**21) == "1" + "0" * 21


def test_a_domain_is_read_without_case_and_trailing_dot() -> None:
    assert from_wire(Kind.STRING, "domain", "Example.COM.") == "example.com"
    assert from_wire(Kind.STRING, "website", "Example.COM.") == "Example.COM."


def test_a_value_that_does_not_fit_its_type_stays_text() -> None:
    assert from_wire(Kind.NUMBER, "any", "a few") == "a few"
    assert from_wire(Kind.NUMBER, "any", "NaN") == "NaN"
    assert from_wire(Kind.NUMBER, "any", "1e999999999") == "1e999999999"


@pytest.mark.parametrize(
    ("path", "dated"),
    [
        ("/crm/v3/objects/companies/batch/upsert", "/crm/objects/2026-09/companies/batch/upsert"),
        ("/crm/v4/associations/a/b/batch/archive", "/crm/associations/2026-09/a/b/batch/archive"),
        ("/crm/v3/properties/0-2/groups", "/crm/properties/2026-09/0-2/groups"),
        ("/crm/v3/owners", "/crm/owners/2026-09"),
        ("/crm-object-schemas/v3/schemas", "/crm-object-schemas/2026-09/schemas"),
        ("/account-info/v3/details", "/account-info/2026-09/details"),
    ],
)
def test_one_path_per_version(path: str, dated: str) -> None:
    assert versioned(path, "v3") == path
    assert versioned(path, "2026-09") == dated


def test_each_call_counts_against_its_own_limit() -> None:
    assert limit_of("/crm/objects/2026-09/companies/search") == "search"
    assert limit_of("/crm/associations/2026-09/contacts/companies/batch/associate/default") == "associations"
    assert limit_of("/crm/v3/objects/companies/batch/create") == "general"
    declared = {limit.name for limit in HubSpot().describe().limits}
    assert {"search", "associations", "general"} <= declared


def answered(status: int, body: Any, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status, headers, raw, "POST", "/crm/v3/objects/companies/batch/create")


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (answered(429, {"message": "You have reached your secondly limit.", "category": "RATE_LIMITS"}), 1.0),
        (answered(429, {"policyName": "DAILY"}), 3600.0),
        (answered(423, {"category": "LOCKED"}), 2.0),
        (answered(429, b"<html>"), 1.0),
        (answered(429, {"policyName": "DAILY"}, **{"Retry-After": "7"}), 7.0),
        (answered(429, {}, **{"Retry-After": "5000"}), 5.0),
        (answered(477, b"", **{"Retry-After": "7200"}), 7200.0),
    ],
)
def test_waits_as_long_as_hubspot_wants(response: Response, seconds: float) -> None:
    assert Waits()(response).seconds == seconds


def test_only_the_days_allowance_is_another_limit_than_the_one_the_call_named() -> None:
    assert Waits()(answered(429, {"policyName": "DAILY"})) == Pause(3600.0, "daily")
    assert Waits()(answered(429, {"policyName": "TEN_SECONDLY_ROLLING"})).limit == ""


def test_every_limit_that_calls_name_or_pauses_mean_is_declared() -> None:
    declared = {limit.name: limit for limit in HubSpot().describe().limits}
    assert declared["daily"].every_call
    assert next(name for name, limit in declared.items() if not limit.every_call) == "general"


def test_the_ten_second_allowance_is_waited_for_longer_and_longer() -> None:
    waits, refused = Waits(), answered(429, {"policyName": "TEN_SECONDLY_ROLLING"})
    assert [waits(refused).seconds for _ in range(4)] == [2.0, 4.0, 8.0, 10.0]


def invalid(name: str, code: str, message: str) -> dict[str, Any]:
    """As in a 207: the fault stands as JSON inside the message."""
    inner = orjson.dumps([{"isValid": False, "message": message, "error": code, "name": name}]).decode()
    return {"status": "error", "category": "VALIDATION_ERROR", "message": f"Property values were not valid: {inner}"}


@pytest.mark.parametrize(
    ("vendor", "code"),
    [
        ("PROPERTY_DOESNT_EXIST", Code.UNKNOWN_PROPERTY),
        ("READ_ONLY_VALUE", Code.READ_ONLY),
        ("INVALID_OPTION", Code.INVALID_CHOICE),
        ("INVALID_EMAIL", Code.INVALID_VALUE),
        ("INVALID_SOMETHING_NEW", Code.INVALID_VALUE),
        ("CONFLICTING_UNIQUE_VALUE", Code.CONFLICT),
        ("NEVER_SEEN", Code.OTHER),
    ],
)
def test_refusals_name_property_cause_and_next_step(vendor: str, code: Code) -> None:
    error = record_error(invalid("shoe_size", vendor, "It is wrong"))
    assert (error.code, error.property, error.vendor_code) == (code, "shoe_size", vendor)
    assert error.message.startswith("HubSpot refused shoe_size: It is wrong. ")
    assert len(error.message) > len("HubSpot refused shoe_size: It is wrong. ")


def test_a_conflict_names_the_record_that_is_there() -> None:
    error = record_error({"category": "CONFLICT", "message": "Contact already exists. Existing ID: 171591000198"})
    assert (error.code, error.existing_id) == (Code.CONFLICT, "171591000198")
    by_context = record_error({"category": "CONFLICT", "message": "exists", "context": {"existingId": [5]}})
    assert by_context.existing_id == "5"


def test_a_missing_required_property_is_named() -> None:
    message = "Error creating COMPANY. Some required properties were not set."
    either = record_error({"category": "VALIDATION_ERROR", "message": message, "context": {"properties": ["name", "domain"]}})
    assert (either.code, either.property) == (Code.REQUIRED, None)
    assert "name or domain" in either.message
    one = record_error({"category": "VALIDATION_ERROR", "message": message, "context": {"properties": ["dealstage"]}})
    assert one.property == "dealstage"


def test_missing_scopes_are_named() -> None:
    body = {"category": "MISSING_SCOPES", "errors": [{"context": {"requiredGranularScopes": ["crm.objects.deals.read"]}}]}
    error = failure(answered(403, body))
    assert isinstance(error, ConfigError)
    assert "crm.objects.deals.read" in str(error)
    assert "reconnect" in str(error)


def test_a_page_instead_of_an_error_body_is_still_an_error() -> None:
    error = failure(answered(414, b"<html>too long</html>"))
    assert isinstance(error, Refused)
    assert (error.status, error.details) == (414, {})


def test_a_key_that_is_not_unique_any_more_is_a_matter_of_settings() -> None:
    error = failure(answered(400, {"message": "Unable to perform update/upsert by non-unique 0-2 property syncline_key"}))
    assert isinstance(error, ConfigError)
    assert "syncline_key" in str(error)


def define(**known: Any) -> dict[str, Any]:
    return {"name": "x", "label": "X", "type": "string", "fieldType": "text", "groupName": "g", **known}


@pytest.mark.parametrize(
    ("definition", "kind", "schema"),
    [
        (define(), Kind.STRING, {"type": "string", "maxLength": 65536}),
        (define(type="number"), Kind.NUMBER, {"type": "number"}),
        (define(type="bool"), Kind.BOOLEAN, {"type": "boolean"}),
        (define(type="object_coordinates"), Kind.STRING, {"type": "string", "maxLength": 65536}),
        (
            define(type="enumeration", fieldType="select", options=[{"value": "A", "label": "a"}]),
            Kind.CHOICE,
            {"type": "string", "enum": ["A"]},
        ),
        (define(type="enumeration", fieldType="select", options=[], externalOptions=True), Kind.CHOICE, {"type": "string"}),
        (
            define(type="enumeration", fieldType="checkbox", options=[{"value": "A", "label": "a"}]),
            Kind.SET,
            {"type": "array", "items": {"type": "string", "enum": ["A"]}, "uniqueItems": True},
        ),
    ],
)
def test_definitions_become_properties(definition: dict[str, Any], kind: Kind, schema: dict[str, Any]) -> None:
    found = read("companies", definition, {}, ())
    assert (found.kind, found.schema) == (kind, schema)


def test_email_is_unique_though_its_definition_denies_it() -> None:
    definition = define(name="email", hasUniqueValue=False)
    assert read("contacts", definition, {}, ()).unique
    assert read("contacts", definition, {}, ()).kind is Kind.EMAIL
    assert not read("companies", definition, {}, ()).unique


def companies(*names: str) -> ObjectType:
    known = tuple(Property(name, name) for name in names)
    return ObjectType("companies", "Companies", known, {}, key_property=KEY)


def test_suggests_only_what_is_missing() -> None:
    suggested = HubSpot().suggest_mapping(
        dataset=DatasetInfo("companies.company", "Companies", ()), object_type=companies("syncline_total_raised", "name")
    )
    wanted = {p.name for p in suggested.create}
    assert "syncline_total_raised" not in wanted
    assert {"companies_house_number", "syncline_key", "syncline_last_deal_date"} <= wanted
    targets = {rule.target for rule in suggested.rules}
    assert targets - {"name", "domain", "website", "description", "country", "syncline_total_raised"} <= wanted
    assert [step.property for step in suggested.match.steps] == ["domain", "companies_house_number", "name"]


def test_knows_nothing_about_other_pairs() -> None:
    suggested = HubSpot().suggest_mapping(dataset=DatasetInfo("shop.order", "Orders", ()), object_type=companies())
    assert (suggested.rules, suggested.match.steps, suggested.create) == ((), (), ())


def test_capabilities_are_the_hooks_implemented() -> None:
    hooks = {name for name, member in vars(HubSpot).items() if getattr(member, "syncline_impl", None)}
    assert {str(one) for one in HubSpot().describe().capabilities} == hooks - {"describe", "auth_methods"}


def test_oauth_addresses_follow_the_settings() -> None:
    method = HubSpot().auth_methods()[0]
    settings = {"api_url": "https://a", "app_url": "https://b", "api_version": "v3"}
    assert method.token_url.format(**settings) == "https://a/oauth/v3/token"
    assert method.authorize_url.format(**settings) == "https://b/oauth/authorize"
    assert {"oauth", "crm.objects.companies.write", "crm.schemas.deals.read"} <= set(method.scopes)


def test_the_library_is_loaded_on_first_use_only() -> None:
    client = Client.__new__(Client)
    with pytest.raises(AttributeError):
        client.no_such_api  # noqa: B018
    assert client.batch is client.batch
    assert "batch" in APIS


def test_a_push_costs_little_in_the_library() -> None:
    """A hundred records through the library's API object, without a network: its models would take ten times this."""

    class Still(Client):
        def __init__(self) -> None:
            self.seen = 0

        def call(self, method: str, path: str, body: Any = None, params: Any = None) -> dict[str, Any]:
            self.seen += len(body["inputs"])
            return {}

    client, inputs = Still(), [{"properties": {f"p{n}": "x" for n in range(12)}} for _ in range(100)]
    started = time.perf_counter()
    for _ in range(20):
        client.batch.create("companies", {"inputs": inputs})
    assert client.seen == 2000
    assert (time.perf_counter() - started) / 20 < 0.002
