"""Web and stream processes as in production for a test, on the test's database and the session's broker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

ROOT = Path(__file__).parents[2]
Start = Callable[[], "subprocess.Popen[bytes]"]


@contextmanager
def streams(database_url: str, **settings: str) -> Iterator[Start]:
    """Starts one `syncline stream` each time it is called; all end with it."""
    started: list[subprocess.Popen[bytes]] = []
    given = {"DATABASE_URL": database_url, "SYNCLINE_ALLOW_LOOPBACK": "1", "SYNCLINE_LOG_LEVEL": "ERROR", **settings}

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "syncline.cli", "stream"]
        started.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **given}))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


@contextmanager
def topic_of_its_own(kafka: Kafka, name: str) -> Iterator[str]:
    """A name for one; whoever uses it first makes it. It is gone in the end, with that of its dead letters."""
    topic = f"{name}-{uuid.uuid4().hex[:8]}"
    try:
        yield topic
    finally:
        there = _admin(kafka).list_topics(timeout=30).topics
        for made in {topic, f"{topic}.dlq"} & set(there):
            delete(kafka, made)


def create(kafka: Kafka, topic: str, **config: str) -> None:
    client = _admin(kafka)
    client.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)


def delete(kafka: Kafka, topic: str) -> None:
    client = _admin(kafka)
    client.delete_topics([topic])[topic].result(30)


def _admin(kafka: Kafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})


def until(true: Callable[[], bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "It did not come to pass in time."
        time.sleep(0.05)
