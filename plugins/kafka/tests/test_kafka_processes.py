"""Forks, and brokers that die: what was acknowledged is there, once and in order."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from syncline.contract import (
    Change,
    HeaderAuth,
    Http,
    Kind,
    Message,
    ObjectType,
    Op,
    Property,
    PullRequest,
    Retryable,
    Session,
    Status,
)
from syncline_kafka.connector import Kafka as Connector
from syncline_kafka.sandbox.broker import ApacheKafka

from tests.services.kafka.jars import NoJars, jars

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

kafka_connector = Connector()
WHOLE = (Property("$", "Whole message", Kind.JSON),)


def session(servers: str, topic: str) -> Session:
    settings = {"bootstrap_servers": servers, "new_topics": topic}
    return Session(settings, Http(hosts=(), auth=HeaderAuth({})), "test", logging.getLogger("test"))


def thing(topic: str) -> ObjectType:
    return ObjectType(topic, topic, WHOLE, {Op.CREATE: 500}, log=True)


def change(n: int, key: str = "k") -> Change:
    return Change(str(n), Op.CREATE, properties={"$": json.dumps({"n": n})}, message=Message(id=str(n), key=key, sequence=n))


def held(ours: Session, topic: str) -> list[int]:
    pages = kafka_connector.pull(ours, thing(topic), PullRequest(("$",), partition="0"))
    return [json.loads(str(record.properties["$"]))["n"] for page in pages for record in page.records]


@pytest.mark.faults
def test_a_forked_child_publishes_and_reads_by_clients_of_its_own(kafka: Kafka) -> None:
    topic = f"fork-{uuid.uuid4().hex[:8]}"
    ours = session(kafka.servers, topic)
    assert kafka_connector.push(ours, thing(topic), [change(1)])[0].status is Status.CREATED
    done = False
    child = os.fork()
    if child == 0:
        try:
            done = kafka_connector.push(ours, thing(topic), [change(2)])[0].status is Status.CREATED and held(ours, topic) == [
                1,
                2,
            ]
        finally:
            os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert kafka_connector.push(ours, thing(topic), [change(3)])[0].status is Status.CREATED
    assert held(ours, topic) == [1, 2, 3]


def test_threads_share_a_producer_and_each_gets_the_verdicts_of_its_own_messages(kafka: Kafka) -> None:
    topic = f"threads-{uuid.uuid4().hex[:8]}"
    ours, places = session(kafka.servers, topic), dict[int, str]()

    def publish(start: int) -> None:
        for result in kafka_connector.push(ours, thing(topic), [change(start + n, str(start)) for n in range(200)]):
            places[int(result.local_key)] = result.remote_id or ""

    threads = [threading.Thread(target=publish, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    order = held(ours, topic)
    assert {n: f"0:{place}" for place, n in enumerate(order)} == places
    assert len(order) == 600


@pytest.mark.faults
def test_what_a_killed_broker_acknowledged_is_there_in_order_and_the_rest_is_told(tmp_path: Path) -> None:
    try:
        broker = ApacheKafka(jars(), tmp_path)
    except NoJars as why:
        pytest.skip(f"kafka: Apache Kafka needs Java 17 and Maven, but {why}")
    broker.start()
    try:
        ours, said = session(broker.servers, "kept"), list[int]()
        assert kafka_connector.push(ours, thing("kept"), [change(0)])[0].status is Status.CREATED
        killer = threading.Timer(0.3, broker.kill)
        killer.start()
        unknown, later = said_of(ours, said)
        killer.join()
        with pytest.raises(Retryable):
            kafka_connector.push(ours, thing("kept"), [change(99_999)])
        broker.start()
        assert kafka_connector.push(ours, thing("kept"), [change(100_000)])[0].status is Status.CREATED
        order = held(ours, "kept")
        assert order == sorted(order)
        assert len(order) == len(set(order))
        assert {0, 100_000, *said} <= set(order)
        assert not set(later) & set(order)
        assert unknown or later
    finally:
        broker.stop()


def said_of(ours: Session, said: list[int]) -> tuple[list[int], list[int]]:
    """Publishes until a batch is not acknowledged whole; `said` gets what was."""
    for start in range(1, 90_000, 500):
        results = kafka_connector.push(ours, thing("kept"), [change(start + n) for n in range(500)])
        said += [int(one.local_key) for one in results if one.status is Status.CREATED]
        unknown = [int(one.local_key) for one in results if one.status is Status.UNKNOWN]
        later = [int(one.local_key) for one in results if one.status is Status.NOT_SENT]
        if unknown or later:
            return unknown, later
    pytest.fail("The broker was never killed.")


@pytest.mark.faults
def test_a_reader_says_that_the_broker_is_away_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    try:
        broker = ApacheKafka(jars(), tmp_path)
    except NoJars as why:
        pytest.skip(f"kafka: Apache Kafka needs Java 17 and Maven, but {why}")
    broker.start()
    try:
        ours = session(broker.servers, "kept")
        kafka_connector.push(ours, thing("kept"), [change(n) for n in range(3)])
        request = PullRequest(("$",), partition="0", follow=True)
        with closing(kafka_connector.pull(ours, thing("kept"), request)) as pages:  # type: ignore[type-var]
            position = next(page.position for page in pages if (page.position or "").startswith("3@"))
            broker.kill()
            with pytest.raises(Retryable, match=r"Kafka at 127\.0\.0\.1"):
                list(zip(range(30), pages, strict=False))
        broker.start()
        kafka_connector.push(ours, thing("kept"), [change(3)])
        again = PullRequest(("$",), position, partition="0", follow=True)
        with closing(kafka_connector.pull(ours, thing("kept"), again)) as pages:  # type: ignore[type-var]
            assert [record.id for record in next(page for page in pages if page.records).records] == ["0:3"]
    finally:
        broker.stop()
