"""The broker that the tests run against: which one it is, that it keeps what it acknowledged, and that it never stays behind."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from syncline_kafka.sandbox.__main__ import _started
from syncline_kafka.sandbox.broker import ApacheKafka, BrokerError, NoidaDb, answers, broker, free_port

from tests.services.kafka import jars as jars_module
from tests.services.kafka.jars import NoJars, jars
from tests.services.kafka.service import BrokerNeeded, Kafka, Session, start

ROOT = Path(__file__).parents[1]
JOIN = """
import sys, time
from pathlib import Path
from tests.services.kafka.service import Session
session = Session("child", Path(sys.argv[1]))
with session.joined():
    print(session.kafka().servers, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def libs() -> Path:
    try:
        return jars()
    except NoJars as why:
        pytest.skip(f"kafka: Apache Kafka needs Java 17 and Maven, but {why}")


def produced(servers: str, topic: str, number: int) -> list[int | None]:
    """The offsets that the broker acknowledged."""
    acknowledged: list[int | None] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for n in range(number):
        producer.produce(topic, str(n).encode(), on_delivery=lambda error, message: acknowledged.append(message.offset()))
    producer.flush(30)
    return acknowledged


def consumed(servers: str, topic: str, number: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [int(message.value() or b"-1") for message in consumer.consume(number, 20)]
    finally:
        consumer.close()


def test_the_session_s_broker_answers_and_is_the_one_that_its_name_says(kafka: Kafka) -> None:
    assert answers(kafka.servers)
    assert kafka.apache is ("noida" not in kafka.name)
    if os.environ.get("SYNCLINE_BROKER") == "apache":
        assert kafka.apache


@pytest.mark.faults
def test_what_the_broker_acknowledged_is_still_there_after_a_kill_and_a_restart(libs: Path, tmp_path: Path) -> None:
    ours = ApacheKafka(libs, tmp_path)
    ours.start()
    try:
        client = AdminClient({"bootstrap.servers": ours.servers})
        client.create_topics([NewTopic("kept", 1, 1)])["kept"].result(30)
        assert len(produced(ours.servers, "kept", 500)) == 500
        before, killed = ours.servers, ours.pid
        ours.kill()
        assert not psutil.pid_exists(killed or 0)
        ours.start()
        assert ours.servers == before
        assert consumed(ours.servers, "kept", 500) == list(range(500))
    finally:
        ours.stop()


def test_a_port_that_was_taken_meanwhile_is_not_the_end(kafka: Kafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken, ports = int(kafka.servers.rpartition(":")[2]), iter([int(kafka.servers.rpartition(":")[2])])
    monkeypatch.setattr("syncline_kafka.sandbox.broker.free_port", lambda: next(ports, None) or free_port())
    given = argparse.Namespace(port=0, jars=None)
    monkeypatch.setattr("syncline_kafka.sandbox.broker.answers", lambda servers: servers != kafka.servers and answers(servers))
    running = _started(given, tmp_path)
    try:
        assert running.port != taken
        assert answers(running.servers)
    finally:
        running.stop()


def test_a_cluster_whose_id_looks_like_an_option_is_made(libs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" * 16))
    ours = ApacheKafka(libs, tmp_path)
    (tmp_path / "server.properties").write_text(ours._properties())
    ours._format()
    assert "cluster.id=-Pj4" in next((tmp_path / "data").glob("meta.properties")).read_text()


@pytest.mark.faults
def test_a_broker_ends_with_the_last_process_of_its_session_even_when_that_was_killed(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-c", JOIN, str(tmp_path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) for _ in range(2)]
    try:
        told = {child.stdout.readline().strip() for child in children if child.stdout}
        assert len(told) == 1  # one broker for both
        servers = told.pop()
        children[0].send_signal(signal.SIGKILL)
        time.sleep(1)
        assert answers(servers)  # one is still in
        children[1].send_signal(signal.SIGKILL)
        assert soon_gone(servers)
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
    Session("other", tmp_path).clear()
    assert list(tmp_path.glob("session-*")) == []


def soon_gone(servers: str) -> bool:
    until = time.monotonic() + 30
    while answers(servers):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def test_a_run_that_demands_apache_kafka_fails_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KAFKA_JARS", raising=False)
    monkeypatch.setenv("SYNCLINE_BROKER", "apache")
    with pytest.raises(BrokerNeeded, match="wants Apache Kafka, but Java 17 is not there"):
        start()


def test_without_java_the_small_broker_serves_and_says_why_it_is_that_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.delenv("KAFKA_JARS", raising=False)
    monkeypatch.delenv("SYNCLINE_BROKER", raising=False)
    process, found = start()
    try:
        assert found.name.startswith("noida-db ")
        assert found.name.endswith(", because Java 17 is not there (`java` is not on the PATH)")
        assert not found.apache
        assert answers(found.servers)
    finally:
        process.terminate()
        process.wait()
    assert not answers(found.servers)


def test_a_fetch_that_fails_leaves_no_folder_and_says_what_maven_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mvn").write_text(
        '#!/bin/sh\nlast=; for last; do :; done\nmkdir -p "${last#-DoutputDirectory=}"\necho no way; exit 1\n'
    )
    (tmp_path / "mvn").chmod(0o755)
    (tmp_path / "java").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("KAFKA_JARS", raising=False)
    with pytest.raises(NoJars, match="Maven could not fetch it: no way"):
        jars_module.jars(tmp_path)
    assert [path.name for path in (tmp_path / "kafka").iterdir()] == ["jars.lock"]


@pytest.mark.unit
def test_a_folder_without_kafka_s_jars_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="Set KAFKA_JARS to the folder `libs` of an Apache Kafka 4"):
        broker(tmp_path, jars=tmp_path)


def test_a_broker_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    ours = NoidaDb(tmp_path, port=1)
    ours.command = lambda: ["/bin/sh", "-c", "echo the port is taken; exit 3"]  # type: ignore[method-assign]
    with pytest.raises(BrokerError, match="the port is taken"):
        ours.start()
    assert ours.pid is None


def test_a_command_is_run_with_a_broker_and_its_name(kafka: Kafka) -> None:
    show = "import os; print(os.environ['KAFKA_BOOTSTRAP_SERVERS'], os.environ['SYNCLINE_BROKER_NAME']); raise SystemExit(7)"
    command = [sys.executable, "-m", "tests.services.kafka.run", "--", sys.executable, "-c", show]
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.servers}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 7
    assert done.stdout.split()[0] == kafka.servers
