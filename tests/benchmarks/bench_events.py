"""How long does a customer's change take from the webhook's answer to the licence, at a modest pace?

Over the processes of production: web, worker, two stream processes, the broker. Each delivery is of a customer of its own. Its
time begins when its answer has arrived, and ends when somebody else who asks the database every few milliseconds sees its
licence: that is after the commit. `stages`: medians, by the database's clock, of the time from a delivery's arrival to its queue,
to the broker's acknowledgement, and to the beginning of the transaction with the licence.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
import uuid
from collections.abc import Mapping
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.contrib.auth.models import User
from django.db import connection, connections
from syncline_host.demo_events import processes, scenario

from tests.benchmarks.broker import broker
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.tables import empty_all

RATE = int(os.environ.get("EVENTS_RATE", "50"))
SECONDS = int(os.environ.get("EVENTS_SECONDS", "20"))
WARMING = 50
LOOK = 0.004
ARRIVES_WITHIN = 60.0

_SEEN = """
SELECT l.id, c.salesforce_id FROM licensing_license l JOIN licensing_customer c ON c.id = l.customer_id
WHERE l.id > %s AND l.active
"""

_STAGES = """
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY o.queued_at - e.received_at),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY o.settled_at - o.queued_at),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY i.at - o.settled_at)
FROM syncline_incoming i JOIN syncline_inboxevent e ON e.id = split_part(i.message_id, ':', 2)::bigint
JOIN syncline_outgoing o ON o.event_id = e.id
"""


@bench("events-end-to-end")
def events_end_to_end() -> Figures:
    os.environ.setdefault("SYNCLINE_LOG_LEVEL", "ERROR")
    empty_all()
    with broker() as kafka:
        user = User.objects.create_superuser("bench", "bench@example.com", "x")
        scenario.make(user, kafka.servers, f"events-{uuid.uuid4().hex[:8]}")
        connections.close_all()
        with processes.running() as address:
            _told(f"{address}/{scenario.ADDRESS}", WARMING, 10)
            load = os.getloadavg()[0]
            took = _told(f"{address}/{scenario.ADDRESS}", RATE * SECONDS, RATE)
        return {**_figures(took), "load": [round(load, 1), round(os.getloadavg()[0], 1)], "broker": kafka.name}


def _figures(took: list[float]) -> dict[str, Any]:
    parts = quantiles(took, n=100)
    with connection.cursor() as cursor:
        cursor.execute(_STAGES)
        stages = [round(one.total_seconds() * 1000, 1) for one in cursor.fetchone()]
    return {
        "p50_ms": round(parts[49] * 1000, 1),
        "p99_ms": round(parts[98] * 1000, 1),
        "messages": len(took),
        "rate": RATE,
        "stages": dict(zip(("queued_ms", "published_ms", "taken_in_ms"), stages, strict=True)),
    }


def _told(url: str, number: int, rate: float) -> list[float]:
    """Seconds from answer to licence, of so many deliveries."""
    acknowledged: dict[str, float] = {}
    sender = threading.Thread(target=_send, args=(url, number, rate, acknowledged))
    sender.start()
    seen = _watch(number)
    sender.join()
    return [max(0.0, seen[who] - at) for who, at in acknowledged.items()]


def _send(url: str, number: int, rate: float, acknowledged: dict[str, float]) -> None:
    place = urlsplit(url)
    caller = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    begun = time.perf_counter()
    for count in range(number):
        time.sleep(max(0.0, begun + count / rate - time.perf_counter()))
        who = str(uuid.uuid4())
        caller.request("POST", place.path, orjson.dumps(_body(who)))
        answer = caller.getresponse()
        answer.read()
        assert answer.status < 300, answer.status
        acknowledged[who] = time.perf_counter()
    caller.close()


def _body(who: str) -> Mapping[str, Any]:
    names = {"AccountManager": "Ada", "Name": f"{who[:8]}.example.com", "SalesEngineerId": "7"}
    return {"Id": who, "SignedTos": True, **names, **dict.fromkeys(scenario.PRODUCTS, False), scenario.PRODUCTS[0]: True}


def _watch(number: int) -> dict[str, float]:
    seen: dict[str, float] = {}
    before, until = _newest(), time.perf_counter() + number / RATE * 10 + ARRIVES_WITHIN
    while len(seen) < number:
        with connection.cursor() as cursor:
            cursor.execute(_SEEN, [before])
            now = time.perf_counter()
            for _, who in cursor.fetchall():
                seen.setdefault(who, now)
        assert now < until, f"{len(seen)} of {number} licences were there in time."
        time.sleep(LOOK)
    return seen


def _newest() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM licensing_license")
        return int(cursor.fetchone()[0])
