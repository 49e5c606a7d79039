"""How fast do the messages of a topic become licences, with the ledger, beside a bare consumer that copies them into a table?

One partition, one process each, the same messages of about 300 bytes: customers whose products change. The bare loop takes
confluent-kafka's batches, parses each message and writes its columns by COPY, with the position in the same transaction: a row
for each message, where ours brings customers, licences, their history and the ledger up to date. Beside it two libraries
(`make bench-peers`), see `stream_libraries`.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import RunPart
from syncline.runs.stream import claiming
from syncline.runs.stream.carrying import carry_out
from syncline.runs.stream.keeping import Keeper
from syncline_host.demo_events import scenario
from syncline_licensing.models import Customer

from tests.benchmarks import stream_libraries as libraries
from tests.benchmarks.broker import broker
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.tables import empty_all

MESSAGES = int(os.environ.get("STREAM_MESSAGES", "50000"))
CUSTOMERS = 5000
ROUNDS = 2


@bench("stream-to-postgres")
def stream_to_postgres() -> Figures:
    with broker() as found:
        return measured(found.servers, found.name)


def measured(servers: str, broker: str) -> Figures:
    ours, bare, cpu = [], [], []
    topic = filled(servers)
    for _ in range(ROUNDS):
        bare.append(bare_loop(servers, topic))
        seconds, used = taken_in(servers, topic)
        ours.append(seconds)
        cpu.append(used)
    return {
        "records_per_s": round(MESSAGES / min(ours)),
        "ratio_to_bare": round(min(bare) / min(ours), 3),
        "bare_per_s": round(MESSAGES / min(bare)),
        "cpu_s_per_1000": round(min(cpu) / MESSAGES * 1000, 3),
        **beside(servers, topic, MESSAGES / min(ours)),
        "messages": MESSAGES,
        "broker": broker,
    }


def beside(servers: str, topic: str, ours: float) -> Figures:
    """The other libraries' figures, and what is left out because one is not installed."""
    customers = len({key for key, _ in messages()})
    found = {one.name: one.per_second(servers, topic, MESSAGES, customers) for one in libraries.ALL if one.there}
    ratios = {f"ratio_to_{name}": round(ours / theirs, 2) for name, theirs in found.items()}
    return {**ratios, **{f"{name}_per_s": round(theirs) for name, theirs in found.items()}, **libraries.left_out()}


def messages() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(7)
    crowd = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(CUSTOMERS)]
    for _ in range(MESSAGES):
        who = str(chance.choice(crowd))
        told: dict[str, Any] = {
            "AccountManager": "Jessica Example-Robinson",
            "Id": who,
            "Name": f"{who[:8]}.example.com",
            "SalesEngineerId": str(uuid.UUID(int=chance.getrandbits(128))),
            "SignedTos": chance.random() < 0.8,
            **{sku: chance.random() < 0.5 for sku in scenario.PRODUCTS},
        }
        yield who, orjson.dumps(told)


def filled(servers: str) -> str:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers})  # its futures end with it
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(20)
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "compression.type": "lz4"})
    for number, (key, body) in enumerate(messages(), 1):
        headers: list[tuple[str, str | bytes | None]] = [("ce_id", f"1:{number}"), ("ce_sequence", str(number))]
        headers += [("ce_specversion", "1.0"), ("ce_type", "customer"), ("ce_source", "/bench")]
        producer.produce(topic, key=key, value=body, headers=headers)
        if number % 10_000 == 0:
            producer.flush(30)
    assert producer.flush(60) == 0
    return topic


_TABLE = """
DROP TABLE IF EXISTS bare_change; DROP TABLE IF EXISTS bare_position;
CREATE TABLE bare_change (place bigint PRIMARY KEY, who text, name text, manager text, engineer text, terms bool, flags jsonb);
CREATE TABLE bare_position (topic text PRIMARY KEY, next bigint)
"""
_NEXT = "INSERT INTO bare_position VALUES (%s, %s) ON CONFLICT (topic) DO UPDATE SET next = excluded.next"


def bare_loop(servers: str, topic: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(_TABLE)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    begun, taken = time.perf_counter(), 0
    while taken < MESSAGES:
        found = consumer.consume(1000, 1.0)
        rows = []
        for message in found:
            told = orjson.loads(message.value() or b"")
            who, name, manager, engineer = (told[n] for n in ("Id", "Name", "AccountManager", "SalesEngineerId"))
            rows.append((message.offset(), who, name, manager, engineer, told["SignedTos"], orjson.dumps(told).decode()))
        with transaction.atomic(), connection.cursor() as cursor:
            with cursor.copy("COPY bare_change FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(_NEXT, [topic, taken + len(rows)])
        taken += len(rows)
    seconds = time.perf_counter() - begun
    consumer.close()
    return seconds


def taken_in(servers: str, topic: str) -> tuple[float, float]:
    """Seconds, and those of CPU in this process."""
    empty_all()
    user = User.objects.create_superuser("bench", "bench@example.com", "x")
    scene = scenario.make(user, servers, topic, 1)
    Keeper().look()
    RunPart.objects.filter(run__sync=scene.relay).delete()
    claim = claiming.claim("bench")
    assert claim is not None
    stop, wake = threading.Event(), threading.Event()
    thread = threading.Thread(target=_carry, args=(claim, stop, wake))
    begun, used = time.perf_counter(), time.process_time()
    thread.start()
    while Checkpoint.objects.filter(partition="0", position__regex=rf"^{MESSAGES}(@|$)").count() == 0:
        time.sleep(0.05)
        assert thread.is_alive(), RunPart.objects.values_list("last_error", flat=True)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    stop.set()
    thread.join(20)
    assert Customer.objects.count() == len({key for key, _ in messages()})
    return seconds, used


def _carry(claim: Any, stop: threading.Event, wake: threading.Event) -> None:
    try:
        carry_out(claim, stop, wake)
    finally:
        connections.close_all()
