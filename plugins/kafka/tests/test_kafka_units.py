"""Without a broker: settings, suggestions, and what becomes of a batch of which one message is not delivered."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import pytest
from confluent_kafka import KafkaError, KafkaException
from syncline.contract import (
    Change,
    Code,
    ConfigError,
    DatasetInfo,
    Field,
    HeaderAuth,
    Http,
    Kind,
    Message,
    ObjectType,
    Op,
    Property,
    PullRequest,
    RecordRejected,
    RemoteRecord,
    Session,
    Status,
    SuggestedMapping,
)
from syncline_kafka.cluster import Cluster, id_text
from syncline_kafka.envelope import Reader, packed
from syncline_kafka.mapping import suggest
from syncline_kafka.pull import Place, place_of, pull
from syncline_kafka.push import Batch
from syncline_kafka.settings import SETTINGS, librdkafka, new_topics, schemas

pytestmark = pytest.mark.unit
TOPIC = ObjectType(
    "licences",
    "licences",
    (
        Property("$", "All", Kind.JSON),
        Property("AccountManager", "AM"),
        Property("Id", "Id"),
        Property("SKU1", "S", Kind.BOOLEAN),
    ),
    {Op.CREATE: 500},
    log=True,
)


def session(credentials: dict[str, str] | None = None, **settings: Any) -> Session:
    log = logging.getLogger("test")
    given = {"bootstrap_servers": "b:1", **settings}
    return Session(given, Http(hosts=(), auth=HeaderAuth({})), "inst", log, credentials=lambda: credentials or {})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("bootstrap_servers", "a:9092, b.example:9093", "a"),
        ("bootstrap_servers", "k:1", "k:1,"),
        ("new_topics", "a:3, b.c_d-e", "a:0"),
        ("new_topics", "", "a b"),
    ],
)
def test_settings_are_refused_where_they_are_typed(name: str, good: str, bad: str) -> None:
    schema = SETTINGS["properties"][name]  # type: ignore[index]
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)


@pytest.mark.parametrize("position", ["abc", "-5", "", "9" * 19, "\u0661"])
def test_a_position_that_is_no_offset_is_told_before_anybody_is_asked(position: str) -> None:
    with pytest.raises(ConfigError, match="is the offset of a message"):
        next(pull(session(), TOPIC, PullRequest(("$",), position, "0", follow=True)))


def test_new_topics_have_one_partition_unless_more_are_named() -> None:
    assert new_topics({"new_topics": " a:3, b ,c:12"}) == {"a": 3, "b": 1, "c": 12}
    assert new_topics({}) == {}


def test_schemas_must_be_objects_by_topic() -> None:
    assert schemas({"schemas": '{"t":{"properties":{}}}'}) == {"t": {"properties": {}}}
    for wrong in ("[]", '{"t":1}', "{"):
        with pytest.raises(ConfigError):
            schemas({"schemas": wrong})


def test_a_log_in_is_told_to_the_client_only_where_the_protocol_wants_one() -> None:
    login = {"username": "u", "password": "p"}
    told = librdkafka(session(login, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256", ca_pem="PEM"))
    assert (told["sasl.username"], told["sasl.password"], told["sasl.mechanism"]) == ("u", "p", "SCRAM-SHA-256")
    assert told["ssl.ca.pem"] == "PEM"
    assert not [name for name in librdkafka(session(login)) if name.startswith(("sasl", "ssl"))]


def field(name: str, kind: Kind = Kind.STRING, *, writable: bool = True) -> Field:
    return Field(name, name, kind, writable=writable)


def test_an_inbox_is_suggested_to_pass_on_whole_what_came() -> None:
    fields = (field("account_manager"), field("meta", Kind.JSON), field("data", Kind.JSON))
    inbox = DatasetInfo("inbox.events", "Inbox", fields, log=True)
    assert [(rule.source, rule.target) for rule in suggest(inbox, TOPIC).rules] == [("data", "$")]


def test_a_dataset_that_takes_messages_is_suggested_the_names_that_are_alike() -> None:
    fields = (field("account_manager"), field("sku_1", Kind.BOOLEAN), field("flags", Kind.JSON), field("id", writable=False))
    customers = DatasetInfo("licensing.customer", "Customers", fields, writes=frozenset({Op.UPSERT}))
    found = {(rule.source, rule.target) for rule in suggest(customers, TOPIC).rules}
    assert found == {("flags", "$"), ("account_manager", "AccountManager"), ("sku_1", "SKU1")}


def test_a_dataset_that_takes_no_messages_is_suggested_nothing() -> None:
    rows = DatasetInfo("a.b", "Rows", (field("account_manager"),), writes=frozenset({Op.CREATE}))
    assert suggest(rows, TOPIC) == SuggestedMapping()


class Delivering:
    """A producer that delivers as it is told: offset, or the error of that message; None leaves it waiting."""

    def __init__(self, verdicts: list[int | KafkaError | None], at_once: int | None = None) -> None:
        self.verdicts, self.at_once, self.waiting, self.calls = verdicts, at_once, [], list[str]()  # type: ignore[var-annotated]
        self.inside, self.number = False, 0

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Callable[..., None], headers: Any) -> None:
        verdict = self.verdicts[len(self.calls)]
        self.calls.append(json.loads(value)["n"])
        if isinstance(verdict, KafkaError) and verdict.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise KafkaException(verdict)
        self.waiting.append((verdict, on_delivery))

    def poll(self, _: float) -> None:
        assert not self.inside, "poll was called from a callback"
        self.inside = True
        left = [(verdict, told) for verdict, told in self.waiting if verdict is None]
        for verdict, told in self.waiting:
            if isinstance(verdict, KafkaError):
                told(verdict, self)
            elif verdict is not None:
                self.number = verdict
                told(None, self)
        self.waiting, self.inside = left, False

    def purge(self, **_: bool) -> None:
        assert not self.inside, "purge was called from a callback"
        self.waiting = [(KafkaError(KafkaError._PURGE_QUEUE), told) for _, told in self.waiting]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number


def batch(*verdicts: int | KafkaError | None) -> tuple[Batch, Delivering]:
    producer = Delivering(list(verdicts))
    ours = Cluster({"bootstrap.servers": "127.0.0.1:9", "log_level": 0})
    found = Batch(ours, producer, TOPIC)  # type: ignore[arg-type]
    for n in range(len(verdicts)):
        found.send(Change(str(n), Op.CREATE, properties={"$": f'{{"n":"{n}"}}'}, message=Message(key="k")), "inst")
    found.wait()
    return found, producer


def statuses(found: Batch) -> list[Status]:
    return [found.results[key].status for key in sorted(found.results)]


def test_what_comes_after_a_message_that_was_not_delivered_does_not_overtake_it() -> None:
    lost = KafkaError(KafkaError._MSG_TIMED_OUT)
    found, producer = batch(5, lost, 6, 7)
    assert statuses(found) == [Status.CREATED, Status.UNKNOWN, Status.NOT_SENT, Status.NOT_SENT]
    assert producer.calls == ["0", "1"]
    assert found.results["0"].remote_id == "0:5"


def test_what_lies_in_the_queue_behind_it_is_taken_back() -> None:
    found, _ = batch(None, None, KafkaError(KafkaError._MSG_TIMED_OUT))
    assert statuses(found) == [Status.NOT_SENT, Status.NOT_SENT, Status.UNKNOWN]


def test_a_refused_message_stops_no_other() -> None:
    found, _ = batch(1, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), 2)
    assert statuses(found) == [Status.CREATED, Status.REJECTED, Status.CREATED]
    error = found.results["1"].error
    assert error
    assert error.code is Code.TOO_LONG


def test_a_batch_of_which_nothing_was_taken_says_why() -> None:
    found, _ = batch(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), 1)
    assert statuses(found) == [Status.NOT_SENT, Status.NOT_SENT]
    assert found.untaken
    assert not found.taken


def test_an_acknowledgement_that_never_comes_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline_kafka.push.WAIT_S", 0.1)
    found, _ = batch(1, None)
    assert statuses(found) == [Status.CREATED, Status.UNKNOWN]


class Raw:
    """A message as a consumer gives it."""

    def __init__(self, body: bytes, headers: Mapping[str, bytes] | None = None, stamp: int = 0) -> None:
        self._body, self._headers, self._stamp = body, list((headers or {}).items()), stamp

    def value(self) -> bytes:
        return self._body

    def key(self) -> bytes:
        return b"k"

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self._stamp

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 17


def told(raw: Raw, *names: str) -> RemoteRecord:
    found = ObjectType("t", "t", (Property("$", "All", Kind.JSON), Property("more", "More", Kind.JSON)), {}, log=True)
    return Reader(found, names or ("$",)).record(raw)  # type: ignore[arg-type]


def message(record: RemoteRecord) -> Message:
    assert record.message
    return record.message


def test_a_property_nested_too_deep_is_said_and_stops_no_other() -> None:
    nested = b'{"more":' + b"[" * 300 + b"]" * 300 + b"}"
    assert message(told(Raw(nested), "more")).problem.startswith("Its more is not JSON of at most 254 levels.")
    assert message(told(Raw(nested))).problem.endswith("at most 254 levels are kept.")


@pytest.mark.parametrize("stamp", [10**18, 2**63 - 1])
def test_a_time_that_no_calendar_has_is_none(stamp: int) -> None:
    assert told(Raw(b"{}", stamp=stamp)).modified_at is None
    assert message(told(Raw(b"{}", stamp=stamp))).at is None


@pytest.mark.parametrize(
    ("given", "found"),
    [(b"9223372036854775807", 2**63 - 1), (b"9223372036854775808", None), (b"9999999999999999999", None), (b"9" * 5000, None)],
)
def test_a_sequence_larger_than_databases_count_is_none(given: bytes, found: int | None) -> None:
    assert message(told(Raw(b"{}", {"ce_sequence": given}))).sequence == found


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "The message is no JSON that can be read"),
        (b'{"a":"\\ud800"}', "The message is no JSON that can be read"),
        (b'{"a":123456789012345678901234567890}', ""),
    ],
)
def test_odd_data_of_a_structured_event_stops_nothing(data: bytes, problem: str) -> None:
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":' + data + b"}"
    found = message(told(Raw(body, {"content-type": b"application/cloudevents+json"})))
    assert found.body == body
    assert found.problem.startswith(problem)
    assert bool(found.problem) == bool(problem)


@pytest.mark.parametrize("levels", [300, 1500])
def test_what_is_nested_too_deep_to_be_added_to_is_refused_alone(levels: int) -> None:
    properties = {"$": '{"x":' + "[" * levels + "]" * levels + "}", "Id": "1"}
    with pytest.raises(RecordRejected, match="Map it alone"):
        packed(TOPIC, Change("1", Op.CREATE, properties=properties), "inst")


@pytest.mark.parametrize(
    ("told", "written"),
    [("bCWxP9pqRs+2dfjNi9w/Sg", "bCWxP9pqRs-2dfjNi9w_Sg"), ("A" * 22, ""), ("", ""), (None, "")],
    ids=["every sign", "zero", "empty", "none"],
)
def test_a_topic_s_id_can_stand_in_a_position(told: str | None, written: str) -> None:
    assert id_text(told) == written
    assert place_of("t", f"1200@{written}" if written else "1200") == Place(1200, written)
