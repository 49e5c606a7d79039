"""The short form of `make events`: what must hold does not depend on how long everything is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.kafka.jars import NoJars, jars

pytestmark = [pytest.mark.faults, pytest.mark.timeout(660)]
ROOT = Path(__file__).parents[2]
SHORT = {"EVENTS_MINUTES": "0.3", "EVENTS_SEED": "3"}


@pytest.fixture
def libs() -> str:
    try:
        return str(jars())
    except NoJars as why:
        pytest.skip(f"kafka: Apache Kafka needs Java 17 and Maven, but {why}")


def test_each_acknowledged_delivery_has_one_effect_in_its_order_whoever_is_killed(libs: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.events.run"],
        cwd=ROOT,
        env={**os.environ, **SHORT, "KAFKA_JARS": libs},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(done.stdout)

    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-3000:]
    told = re.search(r"kills=(\d+) .* broker kills=(\d+), postgres restarts=(\d+), posted=(\d+), acknowledged=(\d+)", done.stdout)
    assert told
    assert all(int(number) for number in told.groups())
    assert re.search(r"troubles=0, losses=0, doubles=0, disorder=0, mismatches=0", done.stdout)
