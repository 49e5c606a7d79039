"""What is pushed to a topic comes back from it: key, order, headers, CloudEvents, and every odd message with its reason."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from syncline.contract import (
    AuthError,
    Change,
    Code,
    ConfigError,
    HeaderAuth,
    Http,
    Kind,
    Message,
    ObjectType,
    Op,
    Page,
    Property,
    PullRequest,
    RemoteRecord,
    Retryable,
    Session,
    Status,
)
from syncline_kafka import pull as pulling
from syncline_kafka.cluster import Cluster
from syncline_kafka.connector import Kafka as Connector
from syncline_kafka.errors import failure

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

AT = dt.datetime(2026, 11, 26, 12, 30, 0, 123000, dt.UTC)
kafka_connector = Connector()


def session(kafka: Kafka, credentials: Mapping[str, str] | None = None, **settings: Any) -> Session:
    given = {"bootstrap_servers": kafka.servers, **settings}
    return Session(
        given, Http(hosts=(), auth=HeaderAuth({})), "test", logging.getLogger("test"), credentials=lambda: credentials or {}
    )


@pytest.fixture
def topic(kafka: Kafka) -> Iterator[Callable[..., str]]:
    """Creates a topic of that many partitions; gone after the test."""
    client, made = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0}), list[str]()

    def make(partitions: int = 1, **config: str) -> str:
        name = f"t-{uuid.uuid4().hex[:12]}"
        client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_topics([name])[name].exception(30)


def thing(name: str, session_: Session) -> ObjectType:
    return next(one for one in kafka_connector.discover(session_) if one.key == name)


def bare(name: str, **properties: Kind) -> ObjectType:
    known = (Property("$", "Whole message", Kind.JSON), *(Property(one, one, kind) for one, kind in properties.items()))
    return ObjectType(name, name, known, {Op.CREATE: 500}, log=True)


numbers = itertools.count(1)


def change(value: str | None = '{"a":1}', **message: Any) -> Change:
    return Change(f"e{next(numbers)}", Op.CREATE, properties={"$": value}, message=Message(**message))


def pull(
    session_: Session, found: ObjectType, *names: str, partition: str = "0", position: str | None = None, follow: bool = False
) -> Iterator[Page]:
    return kafka_connector.pull(session_, found, PullRequest(names or ("$",), position, partition, follow=follow))


def records(pages: Iterator[Page]) -> list[RemoteRecord]:
    return [record for page in pages for record in page.records]


def raw(kafka: Kafka, name: str, *values: bytes | None, key: bytes | None = b"k", headers: Any = None) -> None:
    producer = Producer({"bootstrap.servers": kafka.servers, "log_level": 0})
    for value in values:
        producer.produce(name, value, key, headers=headers)
    assert producer.flush(20) == 0


def test_a_message_comes_back_with_its_key_its_place_and_its_event(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    sent = change(
        '{"b":2,"a":"Zoë"}', id="7:41", key="acme", sequence=41, type="customer", source="/sf", at=AT, headers={"x-trace": "é"}
    )
    [result] = kafka_connector.push(ours, bare(name), [sent])
    assert (result.status, result.remote_id, result.local_key) == (Status.CREATED, "0:0", sent.local_key)

    [back] = records(pull(ours, bare(name)))

    assert back.id == "0:0"
    assert back.properties == {"$": '{"a":"Zoë","b":2}'}
    message = back.message
    assert message
    assert (message.id, message.key, message.sequence, message.type, message.source) == ("7:41", "acme", 41, "customer", "/sf")
    assert message.at == AT
    assert message.headers == {"x-trace": "é", "content-type": "application/json"}
    assert json.loads(message.body) == {"b": 2, "a": "Zoë"}
    assert not message.problem
    assert not back.archived


def test_what_others_read_is_a_cloud_event_in_binary_mode(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic()
    kafka_connector.push(
        session(kafka), bare(name), [change(id="7:41", key="acme", sequence=41, type="customer", source="/sf", at=AT)]
    )
    consumer = Consumer({"bootstrap.servers": kafka.servers, "log_level": 0, "group.id": "other"})
    consumer.assign([TopicPartition(name, 0, 0)])
    message = consumer.poll(20)
    consumer.close()

    assert message
    assert message.key() == b"acme"
    assert message.value() == b'{"a":1}'
    assert dict(message.headers() or ()) == {
        "ce_id": b"7:41",
        "ce_source": b"/sf",
        "ce_type": b"customer",
        "ce_specversion": b"1.0",
        "ce_time": b"2026-11-26T12:30:00.123000Z",
        "ce_partitionkey": b"acme",
        "ce_sequence": b"41",
        "content-type": b"application/json",
    }


def test_messages_of_one_key_keep_their_order_over_several_partitions(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic(3)
    sent = [change(json.dumps({"n": n}), id=str(n), key=f"k{n % 7}", sequence=n) for n in range(400)]
    results = kafka_connector.push(ours, bare(name), sent)
    assert [result.local_key for result in results] == [one.local_key for one in sent]
    assert {result.status for result in results} == {Status.CREATED}
    assert kafka_connector.partitions(ours, bare(name)) == ["0", "1", "2"]

    came: dict[str | None, list[int]] = {}
    for partition in ("0", "1", "2"):
        for record in records(pull(ours, bare(name), partition=partition)):
            assert record.message
            came.setdefault(record.message.key, []).append(record.message.sequence or 0)

    assert came == {f"k{k}": list(range(k, 400, 7)) for k in range(7)}


def test_a_pull_goes_on_exactly_where_its_position_says(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, *(b'{"n":%d}' % n for n in range(2500)))
    pages = pull(ours, bare(name, n=Kind.NUMBER), "n")
    first = next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert offset(first) == str(len(first.records))

    rest = list(pull(ours, bare(name, n=Kind.NUMBER), "n", position=first.position))

    came = [record.properties["n"] for page in (first, *rest) for record in page.records]
    assert came == list(range(2500))
    assert rest[-1].position is None
    assert all(len(page.records) <= 1000 for page in rest)


def test_a_pull_without_follow_ends_where_the_log_ended_when_it_began(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, *(b'{"n":%d}' % n for n in range(1500)))
    pages = pull(ours, bare(name, n=Kind.NUMBER), "n")
    first = next(pages)
    raw(kafka, name, *(b'{"n":-1}' for n in range(3000)))

    assert len(first.records) + len(records(pages)) < 1500 + 1000  # at most what its last page held beside
    assert records(pull(ours, bare(topic()))) == []


def test_following_an_empty_topic_gives_a_page_within_five_seconds_and_new_messages_at_once(
    kafka: Kafka, topic: Callable[..., str]
) -> None:
    ours, name = session(kafka), topic()
    pages = pull(ours, bare(name), follow=True)
    with closing(pages):  # type: ignore[type-var]
        begun = time.monotonic()
        empty = next(pages)
        assert time.monotonic() - begun < 5
        assert (list(empty.records), offset(empty), empty.behind, empty.gap) == ([], "0", 0, "")
        begun = time.monotonic()
        next(pages)
        assert time.monotonic() - begun < 5
        raw(kafka, name, b'{"n":1}')
        begun = time.monotonic()
        came = next(page for page in pages if page.records)
        assert time.monotonic() - begun < 1
        assert (offset(came), came.behind) == ("1", 0)


def test_following_says_how_many_messages_are_still_behind(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, *(b"{}" for _ in range(2500)))
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        read, behind = 0, []
        while read < 2500:
            page = next(pages)
            read += len(page.records)
            if page.records:
                behind.append((read, page.behind))
    assert behind == [(seen, 2500 - seen) for seen, _ in behind]
    assert len(behind) >= 3


def test_a_tombstone_says_that_its_key_is_gone_and_null_keys_are_none(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    results = kafka_connector.push(ours, bare(name), [change(None, key="gone"), change(key=None), change(None, key=None)])
    assert [result.status for result in results] == [Status.CREATED, Status.CREATED, Status.REJECTED]
    assert results[2].error
    assert results[2].error.code is Code.REQUIRED

    gone, keyless = records(pull(ours, bare(name)))

    assert (gone.archived, gone.properties, gone.message and gone.message.key) == (True, {}, "gone")
    assert (keyless.archived, keyless.message and keyless.message.key) == (False, None)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"not json", "The message is no JSON that can be read"),
        (b"", "The message is no JSON that can be read"),
        (b"\xff\xfe\x00", "The message is no JSON that can be read"),
        (b"[" * 200_000, "The message is no JSON that can be read"),
        (b'{"a":' * 600 + b"1" + b"}" * 600, "The message is no JSON that can be read"),
        (b'"\\ud800"', "The message is no JSON that can be read"),
        (b"[1]", "The message is JSON, but no object with properties."),
        (b"3", "The message is JSON, but no object with properties."),
        (b'{"flag":"yes"}', "Its flag is not true or false. If the topic's messages have changed, refresh the catalog."),
        (b'{"n":true}', "Its n is not a number."),
        (b'{"at":"tomorrow"}', "Its at is not a date with time."),
    ],
)
def test_what_cannot_be_read_comes_with_its_bytes_and_a_reason(
    kafka: Kafka, topic: Callable[..., str], body: bytes, problem: str
) -> None:
    name = topic()
    raw(kafka, name, body, b'{"flag":true,"n":1.50,"at":"2026-01-02T03:04:05+01:00","more":{"b":1,"a":2}}')
    found = bare(name, flag=Kind.BOOLEAN, n=Kind.NUMBER, at=Kind.DATETIME, more=Kind.JSON)

    bad, good = records(pull(session(kafka), found, "$", "flag", "n", "at", "more"))

    assert bad.message
    assert bad.message.body == body
    assert bad.message.problem.startswith(problem)
    assert bad.properties == {}
    assert good.properties["at"] == "2026-01-02T02:04:05.000Z"
    assert str(good.properties["n"]) == "1.5"
    assert good.properties["more"] == '{"a":2,"b":1}'


def test_a_name_that_is_not_there_is_left_out_and_a_null_is_none(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic()
    raw(kafka, name, b'{"a":null}')
    [record] = records(pull(session(kafka), bare(name, a=Kind.STRING, b=Kind.STRING), "a", "b"))
    assert record.properties == {"a": None}


def test_a_cloud_event_in_structured_mode_is_opened(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic()
    event = {"specversion": "1.0", "id": "9", "source": "/x", "type": "t", "time": "2026-11-26T12:30:00.123Z", "sequence": "12"}
    whole = json.dumps({**event, "data": {"a": 1}}).encode()
    raw(kafka, name, whole, b'{"specversion":"1.0"}', headers=[("content-type", b"application/cloudevents+json; charset=UTF-8")])

    good, bad = records(pull(session(kafka), bare(name, a=Kind.NUMBER), "$", "a"))

    assert good.properties == {"$": '{"a":1}', "a": 1}
    assert good.message
    assert (good.message.id, good.message.sequence, good.message.at, good.message.body) == ("9", 12, AT, whole)
    assert bad.message
    assert bad.message.problem.startswith("The message says that it is a CloudEvent, but is none")


def test_keys_headers_and_sequences_that_are_no_text_do_no_harm(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic()
    headers = [("ce_id", b"1"), ("ce_sequence", b"many"), ("ce_time", b"never"), ("bin", b"\xff\x00"), ("none", None)]
    raw(kafka, name, b"{}", key=b"\xff\x00k", headers=headers)

    [record] = records(pull(session(kafka), bare(name)))

    assert record.message
    assert record.message.key == "\\xff\\x00k"
    assert record.message.headers == {"bin": "\\xff\\x00", "none": ""}
    assert record.message.sequence is None
    assert record.message.at
    assert abs((dt.datetime.now(dt.UTC) - record.message.at).total_seconds()) < 60


def test_a_message_too_big_for_the_topic_is_refused_alone(kafka: Kafka, topic: Callable[..., str]) -> None:
    if not kafka.apache:
        pytest.skip("apache kafka: the small broker takes messages of any size; Java 17 and Maven bring Apache's")
    ours, name = session(kafka), topic(**{"max.message.bytes": "20000"})
    sent = [
        change(json.dumps({"n": n, "x": "".join(uuid.uuid4().hex for _ in range(1000 if n == 100 else 20))}), key="k")
        for n in range(200)
    ]
    results = kafka_connector.push(ours, bare(name), sent)

    refused = [n for n, result in enumerate(results) if result.status is not Status.CREATED]
    assert refused == [100]
    error = results[100].error
    assert error
    assert error.code is Code.TOO_LONG
    assert "Raise max.message.bytes of the topic" in error.message
    came = [json.loads(str(record.properties["$"]))["n"] for record in records(pull(ours, bare(name)))]
    assert came == [n for n in range(200) if n != 100]


def test_what_is_mapped_by_name_joins_the_whole_message(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    found = bare(name, n=Kind.NUMBER, tags=Kind.SET, more=Kind.JSON)
    values: dict[str, Any] = {
        "$": '{"n":1,"z":0}',
        "n": Decimal("12345678901234567890.5"),
        "tags": ("a", "b"),
        "more": '{"q":[1]}',
    }
    kafka_connector.push(ours, found, [Change("1", Op.CREATE, properties=values, message=Message(key="k"))])
    [record] = records(pull(ours, found))
    assert record.message
    assert record.message.body == b'{"n":12345678901234567890.5,"z":0,"tags":["a","b"],"more":{"q":[1]}}'


def test_a_topic_that_is_not_there_is_named_with_what_to_do(kafka: Kafka) -> None:
    ours, found = session(kafka), bare(f"none-{uuid.uuid4().hex}")
    for call in (
        lambda: kafka_connector.push(ours, found, [change(key="k")]),
        lambda: kafka_connector.partitions(ours, found),
        lambda: next(pull(ours, found)),
    ):
        with pytest.raises(ConfigError, match=f"There is no topic {found.key} in the cluster.*New topics"):
            call()


def test_a_new_topic_of_the_settings_is_offered_and_created_when_it_is_first_used(kafka: Kafka) -> None:
    name = f"new-{uuid.uuid4().hex[:8]}"
    ours = session(kafka, new_topics=f"{name}:3, other-{name}")
    before = thing(name, ours)
    assert before.log
    assert before.dead_letters == f"{name}.dlq"
    assert [one.name for one in before.properties] == ["$"]
    assert name not in AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0}).list_topics(timeout=10).topics

    assert kafka_connector.partitions(ours, before) == ["0", "1", "2"]
    assert kafka_connector.push(ours, thing(f"{name}.dlq", ours), [change(key="k")])[0].status is Status.CREATED


def test_a_topic_s_properties_are_what_its_newest_messages_hold(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic(2)
    raw(
        kafka,
        name,
        b'{"old":1}',
        *(b'{"Name":"x","SKU1":true,"n":1,"m":1,"deep":{"a":1},"empty":null}',) * 5,
        b"junk",
        b"[1]",
        None,
    )
    raw(kafka, name, b'{"m":2.5,"mixed":1}', b'{"mixed":"a"}')
    found = thing(name, session(kafka, sample=9))
    assert {one.name: one.kind for one in found.properties} == {
        "$": Kind.JSON,
        "Name": Kind.STRING,
        "SKU1": Kind.BOOLEAN,
        "n": Kind.NUMBER,
        "m": Kind.NUMBER,
        "deep": Kind.JSON,
        "empty": Kind.JSON,
        "mixed": Kind.JSON,
    }
    assert found.count == 11


def test_a_given_schema_goes_before_the_sample(kafka: Kafka, topic: Callable[..., str]) -> None:
    name = topic()
    raw(kafka, name, b'{"seen":1}')
    schema = {
        "day": {"type": "string", "format": "date"},
        "at": {"type": ["string", "null"], "format": "date-time", "title": "When"},
    }
    schema |= {"grade": {"type": "string", "enum": ["a", "b"]}, "list": {"type": "array"}}
    found = thing(name, session(kafka, schemas=json.dumps({name: {"type": "object", "properties": schema}})))
    kinds = {one.name: one.kind for one in found.properties}
    assert kinds == {"$": Kind.JSON, "day": Kind.DATE, "at": Kind.DATETIME, "grade": Kind.CHOICE, "list": Kind.JSON}
    assert [choice.value for choice in (found.property("grade") or found.properties[0]).choices] == ["a", "b"]
    with pytest.raises(ConfigError, match="JSON Schemas is no JSON"):
        kafka_connector.discover(session(kafka, schemas="{"))


def test_kafka_s_own_topics_are_not_offered_and_the_filter_chooses(kafka: Kafka, topic: Callable[..., str]) -> None:
    name, other = topic(), topic()
    offered = {one.key for one in kafka_connector.discover(session(kafka, topics=name))}
    assert offered == {name, f"{name}.dlq"}
    every = {one.key for one in kafka_connector.discover(session(kafka))}
    assert {name, other} <= every
    assert not [one for one in every if one.startswith("_")]


def test_what_the_retention_deleted_is_told_as_a_gap(kafka: Kafka, topic: Callable[..., str]) -> None:
    if not kafka.apache:
        pytest.skip("apache kafka: the small broker cannot delete messages; Java 17 and Maven bring Apache's")
    ours, name = session(kafka), topic()
    raw(kafka, name, *(b'{"n":%d}' % n for n in range(10)))
    client = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})
    for told in client.delete_records([TopicPartition(name, 0, 6)]).values():
        told.result(20)
    with closing(pull(ours, bare(name), position="2", follow=True)) as pages:  # type: ignore[type-var]
        page = next(pages)
        assert page.gap == "The messages 2 to 5 of partition 0 were deleted before they were read."
        assert offset(page) == "6"
        assert [record.id for record in next(pages).records] == ["0:6", "0:7", "0:8", "0:9"]


def test_a_topic_made_anew_is_told_as_a_gap_and_read_from_its_beginning(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, b'{"n":1}')
    with closing(pull(ours, bare(name), position="500", follow=True)) as pages:  # type: ignore[type-var]
        page = next(pages)
        assert page.gap.startswith("Partition 0 ends at message 1, before 500, where reading stood")
        assert [record.id for record in next(pages).records] == ["0:0"]


def offset(page: Page) -> str | None:
    return page.position.partition("@")[0] if page.position else page.position


def exhausted(pages: Iterator[Page], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        next(pages)


def anew(kafka: Kafka, name: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})
    client.delete_topics([name])[name].result(20)
    until = time.monotonic() + 20
    while time.monotonic() < until and name in client.list_topics(timeout=5).topics:
        time.sleep(0.1)
    client.create_topics([NewTopic(name, 1, 1)])[name].result(20)


def test_a_topic_made_anew_that_has_grown_past_our_position_is_read_from_its_beginning(
    kafka: Kafka, topic: Callable[..., str]
) -> None:
    if not kafka.apache:
        pytest.skip("apache kafka: the small broker gives topics no ids; Java 17 and Maven bring Apache's")
    ours, name = session(kafka), topic()
    raw(kafka, name, b'{"n":0}')
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        position = next(page.position for page in pages if page.records)
    anew(kafka, name)
    raw(kafka, name, b'{"n":1}', b'{"n":2}')
    found = list(pull(ours, bare(name), position=position))
    assert [record.properties["$"] for page in found for record in page.records] == ['{"n":1}', '{"n":2}']
    assert [page.gap for page in found if page.gap] == ["The topic was made anew. Partition 0 is read from its beginning."]
    by_hand = list(pull(ours, bare(name), position="1"))  # whoever names an offset alone means the topic of today
    assert [record.properties["$"] for page in by_hand for record in page.records] == ['{"n":2}']


def test_a_topic_made_anew_that_is_never_silent_is_noticed_and_read_from_its_beginning(
    kafka: Kafka, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kafka.apache:
        pytest.skip("apache kafka: the small broker gives topics no ids; Java 17 and Maven bring Apache's")
    monkeypatch.setattr(pulling, "LOOK_S", 1.0)
    ours, name = session(kafka), topic()
    raw(kafka, name, b'{"n":0}')
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        assert next(page for page in pages if page.records)
        anew(kafka, name)
        raw(kafka, name, *(b'{"n":%d}' % n for n in range(1, 6)))
        came: list[str] = []
        gaps: list[str] = []
        until = time.monotonic() + 30
        while not gaps and time.monotonic() < until:
            raw(kafka, name, b'{"n":9}')  # never silent
            page = next(pages)
            gaps += [page.gap] if page.gap else []
        while len(came) < 5:
            came += [str(record.properties["$"]) for record in next(pages).records]
    assert gaps == ["The topic was made anew. Partition 0 is read from its beginning."]
    assert came[:5] == [f'{{"n":{n}}}' for n in range(1, 6)]


def test_while_nobody_tells_which_topic_it_is_reading_goes_on_and_the_position_keeps_what_it_knew(
    kafka: Kafka, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, b'{"n":0}', b'{"n":1}')
    monkeypatch.setattr(Cluster, "topic_id", lambda *_: "")
    with closing(pull(ours, bare(name), position="1@known", follow=True)) as pages:  # type: ignore[type-var]
        page = next(page for page in pages if page.records)
    assert ([record.id for record in page.records], page.position) == (["0:1"], "2@known")


def test_a_topic_that_vanishes_while_it_is_followed_is_an_error_that_says_so(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    raw(kafka, name, b"{}")
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        assert next(pages).records
        client = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})
        client.delete_topics([name])[name].result(20)
        with pytest.raises(ConfigError, match=r"no such topic or partition\. Create it in the cluster"):
            exhausted(pages, 20)


def test_aborted_transactions_are_not_read_and_do_not_stop_the_pull(kafka: Kafka, topic: Callable[..., str]) -> None:
    ours, name = session(kafka), topic()
    producer = Producer({"bootstrap.servers": kafka.servers, "log_level": 0, "transactional.id": name})
    producer.init_transactions(30)
    for n, finish in enumerate((producer.commit_transaction, producer.abort_transaction, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(name, b'{"n":%d}' % n, b"k")
        producer.flush(20)
        finish(20)
    assert [record.properties["$"] for record in records(pull(ours, bare(name)))] == ['{"n":0}', '{"n":2}']
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        page = next(page for page in pages if page.behind == 0)
        assert offset(page) == "6"  # behind the last transaction's end


def test_positions_are_published_for_lag_tools_once_the_next_page_is_asked_for(kafka: Kafka, topic: Callable[..., str]) -> None:
    group, name = f"lag-{uuid.uuid4().hex[:8]}", topic()
    ours = session(kafka, group_id=group)
    raw(kafka, name, b"{}", b"{}", b"{}")
    reader = Consumer({"bootstrap.servers": kafka.servers, "log_level": 0, "group.id": group})
    with closing(pull(ours, bare(name), follow=True)) as pages:  # type: ignore[type-var]
        assert any(offset(page) == "3" for page in pages)
        assert reader.committed([TopicPartition(name, 0)], timeout=10)[0].offset < 3  # not before the host has stored it
        until = time.monotonic() + 20
        while reader.committed([TopicPartition(name, 0)], timeout=10)[0].offset != 3:
            assert time.monotonic() < until
            next(pages)
    reader.close()


def test_the_account_is_the_cluster(kafka: Kafka) -> None:
    account = kafka_connector.check(session(kafka))
    assert account.id
    assert account.name == f"Kafka at {kafka.servers}"


def test_a_broker_that_does_not_answer_is_tried_again_later() -> None:
    nobody = Session({"bootstrap_servers": "127.0.0.1:9"}, Http(hosts=(), auth=HeaderAuth({})), "test", logging.getLogger("test"))
    with pytest.raises(Retryable, match=r"Kafka at 127\.0\.0\.1:9 could not be asked for its topics"):
        kafka_connector.push(nobody, bare("t"), [change(key="k")])


def test_user_and_password_sign_in_and_wrong_ones_are_told(kafka: Kafka, topic: Callable[..., str]) -> None:
    if not kafka.sasl_servers:
        pytest.skip("apache kafka: the small broker knows no log-in; Java 17 and Maven bring Apache's")
    sasl: dict[str, Any] = {
        "bootstrap_servers": kafka.sasl_servers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
    }
    good = session(kafka, {"username": kafka.username, "password": kafka.password}, **sasl)
    name = topic()
    assert kafka_connector.push(good, bare(name), [change(key="k")])[0].status is Status.CREATED
    assert len(records(pull(good, bare(name)))) == 1

    wrong = "w-canary-93841"
    with pytest.raises(AuthError, match="refused the log-in") as refused:
        kafka_connector.check(session(kafka, {"username": kafka.username, "password": wrong}, **sasl))
    assert wrong not in str(refused.value)
    with pytest.raises(ConfigError, match="asks for a log-in"):
        kafka_connector.check(session(kafka, **sasl))


def test_what_kafka_says_becomes_what_happens_next(kafka: Kafka) -> None:
    ours = session(kafka)
    for code, error in (
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ConfigError),
        (KafkaError._TRANSPORT, Retryable),
        (KafkaError.NOT_ENOUGH_REPLICAS, Retryable),
        (KafkaError._AUTHENTICATION, AuthError),
        (KafkaError._SSL, ConfigError),
    ):
        assert type(failure(ours, KafkaError(code), "x")) is error
