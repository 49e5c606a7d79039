"""How fast are deliveries taken in, beside a bare view that inserts the body into one table and answers?

One web server, one generator of load, callers that keep their connections, all addresses in turns. A delivery holds one signed
event of about 500 bytes: it is verified and stored; its event and its name are read afterwards, as a worker does it, and led to
its connection. The bare view that counts is served before the middlewares, as deliveries are, and its statement is prepared as
theirs is; the ordinary one is as anybody would write it.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median, quantiles

from django.contrib.auth.models import User
from django.db import connection
from syncline.connections.models import Connection, Registration
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent
from syncline.runs import inbox

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import empty
from tests.inbound.server import ROOT, Web, serving

from hooking import vendor  # isort: skip - the server's module says where it is

CALLERS = 6
ROUNDS = 8
SECONDS = 2.0

SENDER = r"""
import itertools, json, sys, threading, time
from tests.inbound.server import post, sign
import http.client
port, path, seconds, callers, first = sys.argv[1:]
port, seconds, callers, first = int(port), float(seconds), int(callers), int(first)
url, taken, wrong, numbers = f"http://127.0.0.1:{port}{path}", [], [], itertools.count(first)
def call():
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        number = next(numbers)
        one = {"id": str(number), "key": f"k{number}", "account": "1", "data": {"propertyName": "name", "text": "x" * 400}}
        body = json.dumps([one]).encode()
        headers = {"X-Signature": sign(body, url)}
        begun = time.perf_counter()
        status = post(caller, path, body, headers)
        taken.append(time.perf_counter() - begun)
        if status not in (200, 204):
            wrong.append(status)
threads = [threading.Thread(target=call) for _ in range(callers)]
for one in threads: one.start()
for one in threads: one.join()
print(json.dumps({"taken": taken, "wrong": wrong}))
"""


@bench("intake")
def intake() -> Figures:
    paths = {"ours": f"/hooks/{prepare()}/", "first": "/bare-first/", "ordinary": "/bare/"}
    rates: dict[str, list[float]] = {which: [] for which in paths}
    ours: list[float] = []
    numbers = itertools.count(0, 1_000_000)
    with serving("--workers", "2", "--threads", "4", database_url=os.environ["DATABASE_URL"]) as web:
        for path in paths.values():
            send(web, path, 0.5, next(numbers))
        for turn in range(ROUNDS):
            for which in sorted(paths, reverse=bool(turn % 2)):
                taken = send(web, paths[which], SECONDS, next(numbers))
                rates[which].append(len(taken) / SECONDS)
                ours += taken if which == "ours" else []
    seconds, cpu = read()
    check()
    return {
        "events_per_s": round(median(rates["ours"])),
        "p99_ms": round(quantiles(ours, n=100)[98] * 1000, 1),
        "ratio_to_bare_insert_view": ratio(rates["ours"], rates["first"]),
        "ratio_to_bare_ordinary_view": ratio(rates["ours"], rates["ordinary"]),
        "read_per_s": round(Delivery.objects.count() / seconds),
        "read_cpu_s_per_1000": round(1000 * cpu / Delivery.objects.count(), 3),
        "bare_per_s": round(median(rates["first"])),
        "bare_ordinary_per_s": round(median(rates["ordinary"])),
        "callers": CALLERS,
    }


def ratio(ours: Sequence[float], bare: Sequence[float]) -> float:
    return round(median(one / other for one, other in zip(ours, bare, strict=True)), 2)


def prepare() -> str:
    empty()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_delivery")
        cursor.execute("CREATE TABLE bare_delivery (id bigserial PRIMARY KEY, body bytea NOT NULL, at timestamptz DEFAULT now())")
    owner = User.objects.create_superuser("bench")
    app = Registration.objects.create(connector="brisk", name="bench", client_secret="signing-s3cr3t-canary")
    made = Connection.objects.create(connector="brisk", name="bench", owner=owner, registration=app)
    Connection.objects.filter(pk=made.pk).update(account_id="1", state="ok")
    slug: str = addresses.make(app).names.get().slug
    return slug


def send(web: Web, path: str, seconds: float, first: int) -> Sequence[float]:
    """In a process of its own: the generator must not wait for this one."""
    arguments = [str(web.port), path, str(seconds), str(CALLERS), str(first)]
    ran = subprocess.run([sys.executable, "-c", SENDER, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    if told["wrong"]:
        raise RuntimeError(f"Not all were taken: {told['wrong'][:5]}")
    taken: list[float] = told["taken"]
    return taken


def read() -> tuple[float, float]:
    """What a worker has to do before it can lead the events to runs; its seconds and those of its processor."""
    begun, cpu = time.perf_counter(), time.process_time()
    with vendor.installed():
        while inbox.read_stored():
            pass
    return time.perf_counter() - begun, time.process_time() - cpu


def check() -> None:
    if Delivery.objects.count() != InboxEvent.objects.filter(state="waiting", connection__isnull=False).count():
        raise RuntimeError("A delivery led to no event.")
