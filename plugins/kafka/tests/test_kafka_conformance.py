"""The connector keeps the contract: the suite's checks, against the broker of the tests."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from syncline.contract import ConnectorSpec, DatasetInfo, Field, Kind
from syncline.contract.testing import Server, Target, conformance
from syncline.contract.testing.suite import CHECKS
from syncline_kafka.connector import ABLE, Kafka

from tests.services.kafka.service import Session

TOPIC = f"conformance-{uuid.uuid4().hex[:8]}"
FAULTS = (
    "Kafka speaks no HTTP, so that the suite's proxy cannot play this: see test_kafka_processes.py and test_kafka_round_trip.py."
)
STATE = "A topic is a log: its messages are never changed, matched or listed by id."
NONE = "Topics have nothing of the kind, and the connector declares none of it."
SINCE = ("archived-since", "pull-archived", "pull-moment", "pull-since", "pull-until", "since-resume")
EXCUSED = {
    **{name: NONE for name, check in CHECKS.items() if check.needs - ABLE},
    **dict.fromkeys(SINCE, "A topic is read from a position, not from a moment on."),
    **dict.fromkeys(
        ("auth-error", "unreachable", "rate-limit", "refusal", "outcome-unknown", "no-repeat", "html-answer"), FAULTS
    ),
    **dict.fromkeys(("pull-resume", "pull-lazy", "pull-empty-page", "pull-changing", "records-fit"), STATE),
    **dict.fromkeys(("upsert-once", "missing-record", "removal", "modified-at", "follow", "empty-values"), STATE),
}


@contextmanager
def broker(_: ConnectorSpec) -> Iterator[Server]:
    kafka = Session(os.environ["SYNCLINE_TEST_ID"]).kafka()
    yield Server(
        url=f"kafka://{kafka.servers}",
        headers={},
        settings={"bootstrap_servers": kafka.servers, "new_topics": f"{TOPIC}:3", "topics": TOPIC},
    )


TestKafka = conformance(
    Kafka,
    Target(
        server=broker,
        object_type=TOPIC,
        record=lambda n: {"$": json.dumps({"n": n})},
        log=(TOPIC, lambda n: {"$": f'{{"n":{n}}}'}),
        rejected={"$": None},
        dataset=DatasetInfo("inbox.events", "Inbox", (Field("data", "Data", Kind.JSON),), log=True),
        skip=EXCUSED,
    ),
)
