"""How quickly other applications hear whether a customer may use a product, against a bare view that asks one row.

Both go through the host's middlewares. Ours also finds out who asks, by an API key; most of its answers come from memory, as
they do where many requests concern few customers: each of the 200 here is asked for again within the five seconds of the bound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median, quantiles

from django.contrib.auth.models import Permission, User
from django.utils import timezone
from syncline.connections import api_keys
from syncline.connections.api_keys import ApiKey
from syncline_licensing.models import Customer, License, Sku

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import empty
from tests.inbound.server import ROOT, Web, serving

CUSTOMERS = 200
CALLERS = 4
ROUNDS = 6
SECONDS = 2.0

SENDER = r"""
import http.client, itertools, json, sys, threading, time
port, path, seconds, callers, customers, key = sys.argv[1:]
port, seconds, callers, customers, taken, wrong = int(port), float(seconds), int(callers), int(customers), [], []
def call(first):
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    until = time.perf_counter() + seconds
    for number in itertools.count(first):
        begun = time.perf_counter()
        if begun >= until:
            return
        caller.request("GET", f"{path}?customer=c{number % customers}&sku=SKU1", headers={"X-Api-Key": key})
        answer = caller.getresponse()
        body = answer.read()
        taken.append(time.perf_counter() - begun)
        if answer.status != 200 or not json.loads(body)["entitled"]:
            wrong.append((answer.status, body.decode()[:200]))
threads = [threading.Thread(target=call, args=(n * 37,)) for n in range(callers)]
for one in threads: one.start()
for one in threads: one.join()
print(json.dumps({"taken": taken, "wrong": wrong[:5]}))
"""


@bench("entitlement")
def entitlement() -> Figures:
    key = prepare()
    paths = {"ours": "/api/v1/entitlements", "bare": "/bare/"}
    rates: dict[str, list[float]] = {which: [] for which in paths}
    ours: list[float] = []
    options = ("--workers", "2", "--threads", "4")
    with serving(*options, database_url=os.environ["DATABASE_URL"], app="tests.benchmarks.licensing_web") as web:
        for path in paths.values():
            ask(web, path, 0.5, key)
        for turn in range(ROUNDS):
            for which in sorted(paths, reverse=bool(turn % 2)):
                taken = ask(web, paths[which], SECONDS, key)
                rates[which].append(len(taken) / SECONDS)
                ours += taken if which == "ours" else []
    return {
        "p50_ms": round(median(ours) * 1000, 2),
        "p99_ms": round(quantiles(ours, n=100)[98] * 1000, 1),
        "per_s": round(median(rates["ours"])),
        "bare_per_s": round(median(rates["bare"])),
        "ratio_to_bare_view": round(median(one / other for one, other in zip(rates["ours"], rates["bare"], strict=True)), 2),
        "callers": CALLERS,
    }


def prepare() -> str:
    empty("licensing")
    Sku.objects.create(code="SKU1")
    sku, now = Sku.objects.get(), timezone.now()
    made = Customer.objects.bulk_create(
        Customer(salesforce_id=f"c{n}", name=f"c{n}", signed_tos=True, terms_since=now) for n in range(CUSTOMERS)
    )
    License.objects.bulk_create(License(customer=one, sku=sku, active=True, since=now) for one in made)
    user = User.objects.create_user("bench")
    user.user_permissions.add(Permission.objects.get(codename="view_license"))
    return api_keys.issue(ApiKey(label="bench", user=user))


def ask(web: Web, path: str, seconds: float, key: str) -> Sequence[float]:
    """In a process of its own: who asks must not wait for this one."""
    arguments = [str(web.port), path, str(seconds), str(CALLERS), str(CUSTOMERS), key]
    ran = subprocess.run([sys.executable, "-c", SENDER, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    if told["wrong"]:
        raise RuntimeError(f"Not all were answered by yes: {told['wrong']}")
    taken: list[float] = told["taken"]
    return taken
