"""`make demo-events` does what the README says, with a broker and a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from psycopg.conninfo import make_conninfo
from syncline.localdb import TEST_PREFIX, admin_connection, ensure_database

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

pytestmark = pytest.mark.faults
MESSAGES = 300


@pytest.fixture
def database_of_its_own(database_url: str) -> Iterator[str]:
    name = f"{TEST_PREFIX}demo_events_{os.getpid()}"
    url = make_conninfo(database_url, dbname=name)
    ensure_database(url, fresh=True)
    yield url
    with admin_connection(url) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def demo(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"DATABASE_URL": url, "SYNCLINE_STATE": str(settings.STATE_DIR), "JSON": "1", "MESSAGES": str(MESSAGES)}
    inherited = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-m", "syncline_host.demo_events"]
    return subprocess.run(
        command, env={**inherited, **known, **environment}, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.django_db
def test_webhooks_become_the_licences_that_the_simulator_expects(database_of_its_own: str, kafka: Kafka) -> None:
    done = demo(database_of_its_own, KAFKA_BOOTSTRAP_SERVERS=kafka.servers, SYNCLINE_BROKER_NAME=kafka.name)

    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["broker"] == kafka.name
    assert told["mismatches"] == told["behind"] == told["refused"] == 0
    assert told["messages"] >= MESSAGES
    assert told["malformed"] > 0
    assert told["unchanged"] > 0
    assert told["published"] == told["messages"] - told["malformed"] - told["unchanged"]
    assert told["licences"] > 0
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert f"Broker: {kafka.name}." in done.stdout


def test_without_a_broker_it_says_how_to_get_one(database_url: str) -> None:
    done = demo(database_url)

    assert done.returncode == 1
    assert "use `make demo-events`, which starts one" in done.stderr
