"""What the connector makes of canned answers in Salesforce's documented shapes: verdicts, refusals, values. No network."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from syncline.contract import (
    AuthMethod,
    Change,
    Code,
    ConfigError,
    Kind,
    ObjectType,
    Op,
    Permanent,
    Property,
    RateLimited,
    Response,
    Retryable,
    Status,
    UnsupportedFeature,
    Value,
)
from syncline_salesforce.client import Client
from syncline_salesforce.connector import Salesforce
from syncline_salesforce.errors import Refused, failure
from syncline_salesforce.objects import KEY, object_type
from syncline_salesforce.push import push
from syncline_salesforce.wire import Reader, to_text, to_wire

pytestmark = pytest.mark.unit

ACCOUNTS = ObjectType("Account", "Accounts", (Property("Active__c", "Active", Kind.BOOLEAN),), {}, unique_key=KEY)
ID = "001000000000042AAA"


class Canned(Client):
    """Answers every call with the same body; `error` is the status of a refusal."""

    def __init__(self, answer: Any, error: int = 0) -> None:
        self.answer, self.error, self.sent = answer, error, list[tuple[str, str, Any, dict[str, str]]]()

    def write(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        self.sent.append((method, path, body, params))
        if self.error:
            raise failure(Response(self.error, {}, orjson.dumps(self.answer), method, path))
        return self.answer


def change(key: str, op: Op = Op.CREATE, **values: Value) -> Change:
    remote_id = f"001{key:0>12}AAA" if op is not Op.CREATE else None
    return Change(key, op, remote_id, unique_key=f"i:d:{key}" if op is Op.UPSERT else None, properties=values)


def fault(code: str, message: str = "No.", *fields: str, **more: Any) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields), **more}]}


def refused(code: str, message: str = "No.", *fields: str, **more: Any) -> tuple[Code, str | None, str | None]:
    [result] = push(Canned([fault(code, message, *fields, **more)]), ACCOUNTS, [change("1", Op.UPDATE)])
    assert result.status is Status.REJECTED
    assert result.error
    return result.error.code, result.error.property, result.error.existing_id


def test_each_record_of_a_batch_has_its_own_verdict_in_the_order_it_was_sent() -> None:
    answer = [
        {"id": "001a", "success": True, "errors": []},
        fault("STRING_TOO_LONG", "Too long.", "Name"),
        fault("UNABLE_TO_LOCK_ROW"),
    ]

    results = push(Canned(answer), ACCOUNTS, [change("1"), change("2"), change("3")])

    assert [(r.local_key, r.status, r.remote_id) for r in results] == [
        ("1", Status.CREATED, "001a"),
        ("2", Status.REJECTED, None),
        ("3", Status.NOT_SENT, None),
    ]
    assert results[1].error
    assert (results[1].error.code, results[1].error.property) == (Code.TOO_LONG, "Name")


@pytest.mark.parametrize(
    "answer", [None, {}, [], [{"success": True}] * 3, [{"success": True, "id": "001a"}], [None, 7], [{}, {}]]
)
def test_an_answer_that_does_not_fit_what_was_sent_leaves_all_unknown(answer: Any) -> None:
    results = push(Canned(answer), ACCOUNTS, [change("1"), change("2")])
    assert [r.status for r in results] == [Status.UNKNOWN, Status.UNKNOWN]


@pytest.mark.parametrize(
    ("code", "fields", "wanted"),
    [
        ("INVALID_CROSS_REFERENCE_KEY", (), Code.NOT_FOUND),
        ("INVALID_CROSS_REFERENCE_KEY", ("Id",), Code.NOT_FOUND),
        ("INVALID_CROSS_REFERENCE_KEY", ("ParentId",), Code.INVALID_VALUE),
        ("ENTITY_IS_DELETED", (), Code.NOT_FOUND),
        ("REQUIRED_FIELD_MISSING", ("Name",), Code.REQUIRED),
        ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ("Industry",), Code.INVALID_CHOICE),
        ("INVALID_FIELD_FOR_INSERT_UPDATE", ("CreatedDate",), Code.READ_ONLY),
        ("INVALID_EMAIL_ADDRESS", ("Email",), Code.INVALID_VALUE),
        ("CANNOT_EXECUTE_FLOW_TRIGGER", (), Code.OTHER),
    ],
)
def test_the_vendor_s_words_become_ours(code: str, fields: tuple[str, ...], wanted: Code) -> None:
    assert refused(code, "No.", *fields)[0] is wanted


def test_a_conflict_names_the_record_that_is_in_the_way() -> None:
    said = f"duplicate value found: {KEY} duplicates value on record with id: {ID}"
    rule = {"matchResults": [{"matchRecords": [{"record": {"Id": ID}}]}]}

    assert refused("DUPLICATE_VALUE", said) == (Code.CONFLICT, None, ID)
    assert refused("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=rule) == (Code.CONFLICT, None, ID)
    assert refused("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=None) == (Code.CONFLICT, None, None)


def test_an_upsert_goes_by_our_key_and_tells_what_was_new() -> None:
    client = Canned([{"id": "001a", "success": True, "created": True}, {"id": "001b", "success": True, "created": False}])

    results = push(client, ACCOUNTS, [change("1", Op.UPSERT, Name="A"), change("2", Op.UPSERT)])

    assert [r.status for r in results] == [Status.CREATED, Status.UPDATED]
    [(method, path, body, _)] = client.sent
    assert (method, path, body["allOrNone"]) == ("PATCH", f"/composite/sobjects/Account/{KEY}", False)
    assert body["records"][0] == {"attributes": {"type": "Account"}, "Name": "A", KEY: "i:d:1"}


def test_an_update_goes_by_id_and_an_archive_is_a_delete() -> None:
    client = Canned([{"id": ID, "success": True}])
    push(client, ACCOUNTS, [change("42", Op.UPDATE, Name=None)])
    [result] = push(client, ACCOUNTS, [change("42", Op.ARCHIVE)])

    (_, _, body, _), (method, _, _, params) = client.sent
    assert body["records"] == [{"attributes": {"type": "Account"}, "Name": None, "id": ID}]
    assert (method, params) == ("DELETE", {"ids": ID, "allOrNone": "false"})
    assert result.status is Status.UPDATED


def test_a_checkbox_without_a_value_is_not_ticked() -> None:
    client = Canned([{"id": ID, "success": True}])
    push(client, ACCOUNTS, [change("42", Op.UPDATE, Active__c=None)])
    assert client.sent[0][2]["records"][0]["Active__c"] is False


def test_a_request_refused_as_a_whole_is_certain_for_one_record_only() -> None:
    body = [{"errorCode": "JSON_PARSER_ERROR", "message": "Cannot deserialize\ninstance"}]

    [result] = push(Canned(body, 400), ACCOUNTS, [change("1")])

    assert (result.status, result.error and result.error.code) == (Status.REJECTED, Code.INVALID_VALUE)
    with pytest.raises(Permanent):
        push(Canned(body, 400), ACCOUNTS, [change("1"), change("2")])
    with pytest.raises(Permanent):
        push(Canned({}, 400), ACCOUNTS, [change("1")])


def test_batches_of_several_operations_and_associations_are_not_taken() -> None:
    with pytest.raises(UnsupportedFeature):
        push(Canned([]), ACCOUNTS, [change("1"), change("2", Op.UPDATE)])
    with pytest.raises(UnsupportedFeature):
        push(Canned([]), ACCOUNTS, [change("1", Op.DELETE)])


def failed(status: int, code: str, message: str = "") -> Exception:
    return failure(Response(status, {}, orjson.dumps([{"errorCode": code, "message": message}]), "GET", "/query"))


def test_refusals_of_a_request_say_what_happens_next() -> None:
    used_up, at_once = (
        failed(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        failed(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
    )
    assert isinstance(used_up, RateLimited)
    assert isinstance(at_once, RateLimited)
    assert (used_up.scope, used_up.after, at_once.after) == ("daily", 900.0, 30.0)
    assert isinstance(failed(403, "API_DISABLED_FOR_ORG"), ConfigError)
    assert isinstance(failed(302, ""), ConfigError)
    assert isinstance(failed(400, "QUERY_TIMEOUT"), Retryable)
    assert isinstance(failed(404, "NOT_FOUND"), Refused)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[7]", b"<html>", b'{"error": "x"}', b"[[[]]]"])
def test_a_refusal_in_no_known_form_is_permanent(body: bytes) -> None:
    assert isinstance(failure(Response(400, {}, body, "GET", "/query")), Permanent)


@pytest.mark.parametrize(
    ("value", "wire", "cell"),
    [
        (None, None, "#N/A"),
        (True, True, "true"),
        (Decimal("1234.56"), 1234.56, "1234.56"),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789", "0.1234567890123456789"),
        (9007199254740993, "9007199254740993", "9007199254740993"),
        (("a", "b"), "a;b", "a;b"),
        ("text", "text", "text"),
    ],
)
def test_values_are_written_without_being_rounded(value: Value, wire: Any, cell: str) -> None:
    assert (to_wire(value), to_text(value)) == (wire, cell)


def described(*fields: dict[str, Any]) -> ObjectType:
    plain = {"label": "x", "createable": True, "updateable": True, "nillable": True}
    return object_type({"name": "Account", "label": "Account", "fields": [{**plain, **field} for field in fields]}, None)


def test_values_read_are_canonical_and_what_does_not_fit_stays_text() -> None:
    types = {"d": "date", "t": "datetime", "n": "double", "m": "multipicklist", "e": "email", "b": "boolean"}
    read = Reader(described(*({"name": name, "type": kind} for name, kind in types.items())), types)
    raw = {"Id": ID, "d": "2026-02-28", "t": "2026-02-28T23:59:59.000+0000", "n": 2.50, "m": "b;a;b", "e": " A@B.c", "b": False}

    assert read(raw).properties == {
        "d": "2026-02-28",
        "t": "2026-02-28T23:59:59.000Z",
        "n": Decimal("2.5"),
        "m": ("a", "b"),
        "e": "a@b.c",
        "b": False,
    }
    assert read({"Id": ID, "d": "soon", "t": "later", "n": "many"}).properties == {"d": "soon", "t": "later", "n": "many"}
    with pytest.raises(Retryable):
        read({"Name": "without an id"})


def test_fields_are_described_as_they_are() -> None:
    values = [{"value": "A", "label": "Aah", "active": True}, {"value": "B", "label": "Old", "active": False}]
    found = described(
        {"name": "Name", "type": "string", "length": 80, "nillable": False},
        {"name": "Box", "type": "boolean", "nillable": False, "defaultedOnCreate": True},
        {"name": "Stamp", "type": "datetime", "createable": False, "updateable": False},
        {"name": "Strict", "type": "picklist", "picklistValues": values, "restrictedPicklist": True},
        {"name": "Free", "type": "picklist", "picklistValues": values},
        {"name": "Address", "type": "address"},
        {"name": "Code", "type": "string", "unique": True},
    )
    by_name = {p.name: p for p in found.properties}

    assert "Address" not in by_name
    assert [name for name, p in by_name.items() if p.required] == ["Name"]
    assert [name for name, p in by_name.items() if p.read_only] == ["Stamp"]
    assert [name for name, p in by_name.items() if p.unique] == ["Code"]
    assert by_name["Name"].schema == {"type": "string", "maxLength": 80}
    assert (by_name["Strict"].schema, by_name["Free"].schema) == ({"enum": ["A"]}, {"type": "string"})
    assert [choice.label for choice in by_name["Strict"].choices] == ["Aah"]


@pytest.mark.parametrize("lacking", ["externalId", "unique", "createable", "updateable"])
def test_our_key_counts_only_as_a_unique_external_id_that_we_may_write(lacking: str) -> None:
    good = {"name": KEY, "type": "string", "externalId": True, "unique": True}
    assert described(good).unique_key == KEY
    assert described({**good, lacking: False}).unique_key is None


def test_one_logs_in_with_pkce_at_the_account_s_own_address() -> None:
    methods: dict[str, AuthMethod] = {method.key: method for method in Salesforce().auth_methods()}
    assert methods["oauth"].pkce
    assert methods["oauth"].token_url.startswith("{instance_url}/")
