"""Deliveries, a third of them twice, shuffled, while web and worker processes are killed: each acknowledged event has one effect.

An effect is a row that the stand-in for the runs adds in the transaction it is called in, as a part of a run would be.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from django.contrib.auth.models import User
from django.db import connection
from syncline.connections.models import Connection, Registration
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent
from syncline.runs.crash import INBOX_POINTS

from tests.inbound.server import ROOT, Web, serving, workers

sys.path += [path for path in (str(ROOT / "platform" / "tests"),) if path not in sys.path]

from hooking.vendor import SECRET

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

DELIVERIES = int(os.environ.get("INBOX_DELIVERIES", "1500"))
SENDERS = 6
KILLS = int(os.environ.get("INBOX_KILLS", "20"))

WORKER = r"""
import json, os, sys, time
sys.path.append("platform/tests")
import django
django.setup()
from hooking import vendor
from syncline import registry
installed = registry.using(registry.Registry(vendor.entries()))
installed.__enter__()
from django.db import connection
from syncline.runs import inbox

def pull_ids(connection_id, object_type, remote_ids):
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO inbox_effect (connection_id, remote_id) VALUES (%s, %s)",
                           [(connection_id, one) for one in remote_ids])
    return 1

inbox.pull_ids = pull_ids
while True:
    inbox.dispatch()
    time.sleep(0.02)
"""


@pytest.fixture
def effects(db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE inbox_effect (connection_id bigint, remote_id text)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE inbox_effect")


def prepare(key: str) -> str:
    owner = User.objects.create_user("ann", "ann@example.com", "x")
    app = Registration.objects.create(connector=key, name="app", client_secret=SECRET)
    for account in ("1", "2"):
        made = Connection.objects.create(connector=key, name=account, owner=owner, registration=app)
        Connection.objects.filter(pk=made.pk).update(account_id=account, state="ok")
    slug: str = addresses.make(app).names.get().slug
    return slug


class Sending:
    """A vendor that delivers until it hears that it was taken, several callers at once."""

    def __init__(self, web: Web, slug: str, events: Sequence[str]) -> None:
        self.web, self.slug, self.queue, self.lock = web, slug, list(events), threading.Lock()
        self.acknowledged: set[str] = set()
        self.refused: Counter[int] = Counter()
        self.threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]

    def _next(self) -> str:
        with self.lock:
            return self.queue.pop() if self.queue else ""

    def _send(self) -> None:
        with closing(self.web.caller()) as caller:
            while key := self._next():
                events = [{"id": key, "key": key, "account": str(1 + int(key) % 2)}]
                while (status := self.web.deliver(self.slug, events, caller)) != 200:
                    self.refused[status] += 1
                    time.sleep(0.01)
                self.acknowledged.add(key)

    def run(self) -> None:
        for one in self.threads:
            one.start()

    def progress(self, number: int) -> bool:
        """True when so many more were sent, whatever that takes on a slow machine; False when all have arrived."""
        wanted = max(0, len(self.queue) - number)
        while len(self.queue) > wanted:
            time.sleep(0.02)
        if wanted:
            return True
        for one in self.threads:
            one.join()
        return False


def start_worker(database_url: str, crash_at: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}
    return subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env={**environment, "SYNCLINE_CRASH_AT": f"@{crash_at}"})


@pytest.mark.parametrize("key", ["signed", "brisk"], ids=["read at once", "stored unread"])
def test_every_acknowledged_event_has_exactly_one_effect_whoever_is_killed(
    effects: None, database_url: str, tmp_path: Path, key: str
) -> None:
    slug, dice, order = prepare(key), random.Random(7), tmp_path / "order"
    keys = [str(number) for number in range(DELIVERIES)]
    again = [*keys, *dice.sample(keys, DELIVERIES // 3)]
    dice.shuffle(again)
    killed: Counter[str] = Counter()
    crew = [start_worker(database_url, str(order)) for _ in range(2)]
    try:
        with serving("--workers", "2", "--threads", "4", database_url=database_url) as web:
            sending = Sending(web, slug, again)
            sending.run()
            while sending.progress(len(again) // KILLS):
                if dice.random() < 0.5 and (pids := workers(web)):
                    _kill(dice.choice(list(pids)), killed, "web")
                elif dice.random() < 0.5:
                    order.write_text(dice.choice(INBOX_POINTS))
                else:
                    _kill(dice.choice(crew).pid, killed, "worker")
                killed["points"] += _replace(crew, database_url, str(order))
        order.unlink(missing_ok=True)
        _wait(crew, database_url, str(order))
    finally:
        for one in crew:
            one.kill()
            one.wait()

    assert sending.acknowledged == set(keys)
    with connection.cursor() as cursor:
        cursor.execute("SELECT remote_id, count(*) FROM inbox_effect GROUP BY remote_id")
        effects_of = dict(cursor.fetchall())
    print(f"\ndeliveries: {len(again)}, killed: {dict(killed)}, delivered again for want of an answer: {dict(sending.refused)}")
    assert effects_of == dict.fromkeys(keys, 1)
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"done"}
    assert InboxEvent.objects.count() == DELIVERIES
    assert not Delivery.objects.filter(state="unreadable").exists()
    assert killed["web"] >= 1
    assert killed["worker"] + killed["points"] >= 1


def _kill(pid: int, killed: Counter[str], what: str) -> None:
    if psutil.pid_exists(pid):
        os.kill(pid, signal.SIGKILL)
        killed[what] += 1


def _replace(crew: list[subprocess.Popen[bytes]], database_url: str, order: str) -> int:
    """Puts new ones in the place of the dead; gives how many died at a point."""
    points = 0
    for place, one in enumerate(crew):
        if one.poll() is not None:
            points += one.returncode == 137
            crew[place] = start_worker(database_url, order)
    return points


def _wait(crew: list[subprocess.Popen[bytes]], database_url: str, order: str) -> None:
    until = time.monotonic() + 60
    while InboxEvent.objects.filter(state="waiting").exists() or Delivery.objects.filter(state="stored").exists():
        assert time.monotonic() < until, "Not all events were settled."
        _replace(crew, database_url, order)
        time.sleep(0.1)
