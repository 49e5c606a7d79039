"""A process of `syncline stream` that is asked to stop gives back what it has, so that nobody waits for its leases."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from syncline.runs.models import RunPart, StreamWorker
from syncline_host.demo_events import scenario

from tests.events.going import streams, topic_of_its_own, until

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
PARTS = 7
"""Three partitions, four shards."""
LEASE = 120.0
"""Seconds; longer than the whole test, so that what is taken up was given back."""


def leased() -> int:
    return RunPart.objects.filter(state="leased").count()


def test_a_process_that_is_asked_to_stop_gives_its_parts_back_and_another_takes_them_at_once(
    database_url: str, kafka: Kafka
) -> None:
    with (
        override_settings(SYNCLINE_ALLOW_LOOPBACK=True),
        topic_of_its_own(kafka, "drained") as topic,
        streams(database_url, SYNCLINE_STREAM_LEASE_SECONDS=str(LEASE)) as start,
    ):
        scenario.make(User.objects.create_superuser("ann"), kafka.servers, topic)
        first = start()
        until(lambda: leased() == PARTS, 60)

        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        assert leased() == 0
        assert not StreamWorker.objects.exists(), "nobody counts it among those who share"
        assert set(RunPart.objects.values_list("state", "attempt", "last_error")) == {("queued", 0, "")}

        begun = time.monotonic()
        start()
        until(lambda: leased() == PARTS, 60)
        assert time.monotonic() - begun < LEASE
