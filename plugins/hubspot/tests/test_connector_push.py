"""What the connector makes of canned answers in HubSpot's recorded shapes: above all, whose answer is whose. No network."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest
from syncline.contract import (
    Association,
    Change,
    Code,
    HeaderAuth,
    Http,
    ObjectType,
    Op,
    OutcomeUnknown,
    Permanent,
    PushResult,
    RecordError,
    Response,
    Session,
    Status,
    UnsupportedFeature,
)
from syncline_hubspot.client import Client
from syncline_hubspot.errors import failure
from syncline_hubspot.objects import kinds
from syncline_hubspot.push import push
from syncline_hubspot.reading import fetch

pytestmark = pytest.mark.unit

COMPANIES = ObjectType("companies", "Companies", (), {}, unique_key="syncline_key")
CONTACTS = ObjectType("contacts", "Contacts", (), {})


class Canned(Client):
    """Answers every call with the same body; `error` is the status of a refusal."""

    def __init__(self, answer: dict[str, Any], error: int = 0) -> None:
        self.answer, self.error, self.sent = answer, error, list[tuple[str, Any]]()

    def call(self, method: str, path: str, body: Any = None, params: Any = None) -> dict[str, Any]:
        self.sent.append((path, body))
        if self.error:
            raise failure(Response(self.error, {}, orjson.dumps(self.answer), method, path))
        return self.answer


def session() -> Session:
    return Session(settings={}, http=Http(hosts=(), auth=HeaderAuth({})), installation="i", log=logging.getLogger("test.hubspot"))


def upsert(key: str, **properties: str) -> Change:
    return Change(key, Op.UPSERT, unique_key=f"i:companies.company:{key}", properties=properties)


def update(key: str, remote_id: str) -> Change:
    return Change(key, Op.UPDATE, remote_id=remote_id, properties={"name": "n"})


def create(key: str, email: str) -> Change:
    return Change(key, Op.CREATE, properties={"email": email})


def told(results: list[PushResult]) -> dict[str, tuple[Status, str | None]]:
    return {result.local_key: (result.status, result.remote_id) for result in results}


def error_of(results: list[PushResult], key: str) -> RecordError:
    error = next(result.error for result in results if result.local_key == key)
    assert error is not None
    return error


def test_every_input_bears_its_own_trace_id_and_the_key() -> None:
    client = Canned({})
    push(client, COMPANIES, [upsert("1", name="A"), upsert("2", name="B")])
    ((path, body),) = client.sent
    assert path.endswith("/companies/batch/upsert")
    assert len({each["objectWriteTraceId"] for each in body["inputs"]}) == 2
    first = body["inputs"][0]
    assert (first["idProperty"], first["id"]) == ("syncline_key", "i:companies.company:1")
    assert first["properties"] == {"name": "A", "syncline_key": "i:companies.company:1"}


def test_an_adopted_record_gets_our_key() -> None:
    client = Canned({})
    push(client, COMPANIES, [Change("1", Op.UPDATE, remote_id="9", unique_key="i:c:1", properties={"name": None})])
    assert client.sent[0][1]["inputs"][0]["properties"] == {"name": "", "syncline_key": "i:c:1"}


def test_shuffled_results_are_found_by_trace_id() -> None:
    answer = {"results": [{"id": "70", "objectWriteTraceId": "1", "new": True}, {"id": "71", "objectWriteTraceId": "0"}]}
    results = push(Canned(answer), COMPANIES, [upsert("1"), upsert("2")])
    assert told(results) == {"1": (Status.UPDATED, "71"), "2": (Status.CREATED, "70")}


def test_without_trace_ids_results_are_found_by_our_key_whatever_its_case() -> None:
    answer = {
        "results": [
            {"id": "70", "new": True, "properties": {"syncline_key": "I:COMPANIES.COMPANY:2"}},
            {"id": "71", "new": True, "properties": {"syncline_key": "i:companies.company:1"}},
        ]
    }
    results = push(Canned(answer), COMPANIES, [upsert("1"), upsert("2")])
    assert told(results) == {"1": (Status.CREATED, "71"), "2": (Status.CREATED, "70")}


def test_contacts_without_trace_ids_are_found_by_email() -> None:
    answer = {"results": [{"id": "2", "properties": {"email": "b@x.io"}}, {"id": "1", "properties": {"email": "a@x.io"}}]}
    results = push(Canned(answer), CONTACTS, [create("a", "A@x.io"), create("b", "b@x.io")])
    assert told(results) == {"a": (Status.CREATED, "1"), "b": (Status.CREATED, "2")}


def test_results_that_cannot_be_told_apart_leave_their_changes_unknown() -> None:
    answer = {"results": [{"id": "1", "properties": {}}, {"id": "2", "properties": {}}]}
    changes = [Change("a", Op.CREATE, properties={"name": "n"}), Change("b", Op.CREATE, properties={"name": "n"})]
    assert told(push(Canned(answer), COMPANIES, changes)) == {"a": (Status.UNKNOWN, None), "b": (Status.UNKNOWN, None)}


def test_the_one_result_left_belongs_to_the_one_change_left() -> None:
    answer = {"results": [{"id": "1", "objectWriteTraceId": "1"}, {"id": "2", "properties": {}}]}
    changes = [Change("a", Op.CREATE, properties={"name": "n"}), Change("b", Op.CREATE, properties={"name": "n"})]
    assert told(push(Canned(answer), COMPANIES, changes)) == {"a": (Status.CREATED, "2"), "b": (Status.CREATED, "1")}


def test_a_2xx_that_tells_nothing_is_unknown() -> None:
    results = push(Canned({"status": "COMPLETE", "results": []}), COMPANIES, [update("1", "5"), update("2", "6")])
    assert told(results) == {"1": (Status.UNKNOWN, "5"), "2": (Status.UNKNOWN, "6")}


def test_a_recorded_partial_success() -> None:
    answer = {
        "results": [{"id": "171596044870", "properties": {"email": "siena.dyer@hubspot.com"}}],
        "errors": [
            {
                "status": "error",
                "category": "CONFLICT",
                "message": "Contact already exists. Existing ID: 171591000198",
                "context": {"objectWriteTraceId": ["0"], "existingId": ["171591000198"]},
            }
        ],
        "numErrors": 1,
    }
    results = push(Canned(answer), CONTACTS, [create("1", "lily@hubspot.com"), create("2", "siena.dyer@hubspot.com")])
    assert told(results) == {"1": (Status.REJECTED, None), "2": (Status.CREATED, "171596044870")}
    error = error_of(results, "1")
    assert (error.code, error.existing_id) == (Code.CONFLICT, "171591000198")


def test_missing_ids_without_trace_ids_are_not_found() -> None:
    answer = {
        "results": [{"id": "6"}],
        "errors": [{"category": "OBJECT_NOT_FOUND", "message": "Could not get some", "context": {"ids": ["5", "7"]}}],
    }
    results = push(Canned(answer), COMPANIES, [update("1", "5"), update("2", "6"), update("3", "7")])
    assert [result.status for result in results] == [Status.REJECTED, Status.UPDATED, Status.REJECTED]
    assert error_of(results, "3").code is Code.NOT_FOUND


def test_a_whole_batch_refused_is_split_by_the_host() -> None:
    with pytest.raises(Permanent, match="answered 400"):
        push(Canned({"message": "no"}, 400), COMPANIES, [update("1", "5"), update("2", "6")])


def test_a_single_record_refused_has_its_verdict() -> None:
    fault = {"message": "Bad", "code": "READ_ONLY_VALUE", "context": {"propertyName": ["createdate"]}}
    results = push(Canned({"message": "no", "errors": [fault]}, 400), COMPANIES, [update("1", "5")])
    assert told(results) == {"1": (Status.REJECTED, "5")}
    assert (error_of(results, "1").code, error_of(results, "1").property) == (Code.READ_ONLY, "createdate")


def test_a_conflict_of_the_whole_batch_may_have_written_some() -> None:
    answer = {"message": "Contact already exists", "category": "CONFLICT"}
    with pytest.raises(OutcomeUnknown):
        push(Canned(answer, 409), CONTACTS, [create("1", "a@x.io"), create("2", "b@x.io")])
    alone = push(Canned(answer, 409), CONTACTS, [create("1", "a@x.io")])
    assert (alone[0].status, error_of(alone, "1").code) == (Status.REJECTED, Code.CONFLICT)


def test_a_record_twice_in_a_batch_is_refused_before_sending() -> None:
    client = Canned({})
    with pytest.raises(Permanent, match="same record twice"):
        push(client, COMPANIES, [update("1", "5"), update("2", "5")])
    with pytest.raises(Permanent, match="same record twice"):
        push(client, COMPANIES, [upsert("1"), upsert("1")])
    assert client.sent == []


def test_what_is_not_offered_is_said() -> None:
    with pytest.raises(UnsupportedFeature, match="delete"):
        push(Canned({}), COMPANIES, [Change("1", Op.DELETE, remote_id="1")])
    with pytest.raises(UnsupportedFeature, match="one operation"):
        push(Canned({}), COMPANIES, [update("1", "5"), upsert("2")])
    with pytest.raises(UnsupportedFeature, match="missing properties"):
        push(Canned({}), CONTACTS, [upsert("2")])
    linked = Change("1", Op.UPDATE, remote_id="1", associations=(Association("companies", "2"),))
    with pytest.raises(UnsupportedFeature, match="associations"):
        push(Canned({}), CONTACTS, [linked])


def associate(key: str, remote_id: str, *others: str, remove: bool = False) -> Change:
    ends = tuple(Association("companies", other, remove) for other in others)
    return Change(key, Op.ASSOCIATE, remote_id=remote_id, associations=ends)


def test_associations_of_a_change_stand_or_fall_together() -> None:
    answer = {
        "results": [
            {"from": {"id": "1"}, "to": {"id": "7"}, "associationSpec": {}},
            {"fromObjectId": 1, "toObjectId": 8, "labels": []},
        ],
        "errors": [{"category": "VALIDATION_ERROR", "message": "no", "context": {"id": ["99"]}}],
    }
    changes = [associate("a", "1", "7", "8"), associate("b", "2", "7", "99"), associate("c", "3", "7")]
    results = push(Canned(answer), CONTACTS, changes)
    assert [result.status for result in results] == [Status.UPDATED, Status.REJECTED, Status.UNKNOWN]


def test_one_record_may_be_associated_by_several_changes_of_a_batch() -> None:
    answer = {"results": [{"from": {"id": "1"}, "to": {"id": other}, "associationSpec": {}} for other in "78"]}
    results = push(Canned(answer), CONTACTS, [associate("a", "1", "7"), associate("b", "1", "8")])
    assert told(results) == {"a": (Status.UPDATED, "1"), "b": (Status.UPDATED, "1")}


def test_associations_are_grouped_by_object_type_and_direction() -> None:
    client = Canned({})
    mixed = Change("m", Op.ASSOCIATE, remote_id="4", associations=(Association("deals", "5"), Association("companies", "6")))
    results = push(client, CONTACTS, [associate("a", "1", "7", remove=True), mixed, associate("b", "2", "7")])
    paths = sorted(path.removeprefix("/crm/v4/associations/contacts/") for path, _ in client.sent)
    assert paths == ["companies/batch/archive", "companies/batch/associate/default", "deals/batch/associate/default"]
    assert told(results)["a"] == (Status.UPDATED, "1")


def test_custom_objects_are_associated_from_both_sides() -> None:
    ends = [("2-1", "0-1"), ("0-2", "2-1"), ("2-1", "2-2"), ("2-1", "9-9")]
    car = {
        "objectTypeId": "2-1",
        "fullyQualifiedName": "p1_cars",
        "name": "cars",
        "labels": {"plural": "Cars"},
        "associations": [{"fromObjectTypeId": a, "toObjectTypeId": b} for a, b in ends],
    }
    house = {"objectTypeId": "2-2", "fullyQualifiedName": "p1_houses", "name": "houses"}
    gone = {"objectTypeId": "2-3", "fullyQualifiedName": "p1_gone", "name": "gone", "archived": True}
    found = {kind.key: kind for kind in kinds(session(), Canned({"results": [car, house, gone]}))}
    assert list(found) == ["companies", "contacts", "deals", "2-1", "2-2"]
    assert (found["2-1"].title, found["2-2"].title) == ("Cars", "houses")
    assert set(found["2-1"].associated) == {"contacts", "companies", "2-2"}
    assert found["contacts"].associated == ("companies", "deals", "2-1")
    assert found["2-2"].associated == ("2-1",)


def test_a_contact_is_deleted_for_good_one_at_a_time() -> None:
    client = Canned({})
    one, two = (Change(key, Op.DELETE, remote_id=f"10{key}") for key in "12")
    assert told(push(client, CONTACTS, [one])) == {"1": (Status.UPDATED, "101")}
    assert client.sent == [("/crm/v3/objects/contacts/gdpr-delete", {"objectId": "101"})]
    with pytest.raises(UnsupportedFeature):
        push(client, CONTACTS, [one, two])
    gone = Canned({"category": "OBJECT_NOT_FOUND", "message": "It is not there."}, error=404)
    assert error_of(push(gone, CONTACTS, [one]), "1").code is Code.NOT_FOUND


def test_archived_records_are_not_fetched() -> None:
    answer = {"results": [{"id": "1", "properties": {}, "archived": True}, {"id": "2", "properties": {}, "archived": False}]}
    assert list(fetch(Canned(answer), COMPANIES, ["1", "2"], ["name"], ())) == ["2"]
