"""What an account tells, a third of it twice and shuffled, while web and worker processes are killed: one effect for each event.

HubSpot's sandbox tells and delivers until it hears that it was taken. Web and workers are those of production, each under who
starts it anew.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.connections.models import Registration
from syncline.inbox import addresses
from syncline.inbox.models import InboxEvent
from syncline.runs.crash import INBOX_POINTS
from syncline.runs.models import Run
from syncline_host.demo.connect import CLIENT_SECRET, connect_by_oauth
from syncline_host.demo.scenario import make_sync
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.chaos.house import Crew
from tests.inbound.books import compare, written
from tests.inbound.server import Web, serving, workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

DELIVERIES = int(os.environ.get("INBOX_DELIVERIES", "800"))
KILLS = int(os.environ.get("INBOX_KILLS", "12"))
EDITS = 4
"""Of each company, beside its creation."""
LOT = 20
FLOOD = 100
"""So many events may wait for their delivery before people go on."""
REST = 5
"""After so many lots all comes to rest, so that runs end and others begin."""
WITHIN = 120.0
WEB_POINTS = ("intake.before", "intake.after")  # of tests/inbound/crashing.py
WORKER_POINTS = (*INBOX_POINTS, "claim.after", "pull.before", "pull.after")
PLACES = ("intake.after", *WORKER_POINTS, "intake.before")  # in this order, so that a short run has seen some of both
EVENTS = ("company.creation", "company.propertyChange")


@dataclass
class Account:
    """People at work in it. `values`: how many values each company has had."""

    sandbox: RunningSandbox
    dice: random.Random
    values: Counter[str] = field(default_factory=Counter)
    edits: int = 0

    def go_on(self) -> None:
        """Some companies are new, and some of all are edited, one after the other, so that one may be edited twice."""
        number = len(self.values)
        new = [{"name": f"Company {n}", "domain": f"c{n}.example"} for n in range(number, number + LOT)]
        made = self.sandbox.request(
            "POST", "/crm/v3/objects/companies/batch/create", {"inputs": [{"properties": p} for p in new]}
        )
        self.values.update(one["id"] for one in made.json()["results"])
        for _ in range(EDITS):
            self.edits += 1
            chosen = self.dice.sample(sorted(self.values), LOT)
            self.sandbox.admin.edit("companies", {"description": f"edit {self.edits}"}, chosen)
            self.values.update(chosen)

    def count(self, what: str) -> int:
        """`told`, `acknowledged` or `waiting` events, `deliveries`, and those `refused` or without an answer."""
        return int(self.sandbox.admin.webhooks()[what])


@dataclass
class Killer:
    """Kills by chance, and orders the next process that comes to a place to die there."""

    web: Web
    crew: Crew
    dice: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    ordered: str = ""

    def step(self) -> None:
        self._look()
        if not self.ordered:
            self._order(min(PLACES, key=lambda place: self.killed[place]))
        what = self.dice.choice(("web", "worker", "supervisor"))
        if what == "web":
            self._kill(what, workers(self.web))
        elif what == "worker":
            self._kill(what, [one.pid for one in self.dice.choice(self.crew.workers).role(what)])
        else:
            self.crew.bury(self.dice.choice(self.crew.workers))
            self.crew.start()
            self.killed[what] += 1

    def at(self, places: Sequence[str]) -> int:
        return sum(self.killed[place] for place in places)

    def rest(self) -> None:
        self._look()
        self.crew.order.unlink(missing_ok=True)

    def _kill(self, what: str, pids: Sequence[int]) -> None:
        if pids and psutil.pid_exists(pid := self.dice.choice(pids)):
            os.kill(pid, signal.SIGKILL)
            self.killed[what] += 1

    def _order(self, place: str) -> None:
        self.ordered = place
        draft = self.crew.order.with_suffix(".draft")
        draft.write_text(place)
        draft.rename(self.crew.order)

    def _look(self) -> None:
        if self.ordered and not self.crew.order.exists():
            self.killed[self.ordered] += 1
            self.ordered = ""


@pytest.fixture
def account() -> Iterator[Account]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        sandbox.admin.config(webhook_batch=1, webhook_shuffle=True, webhook_duplicates=0.25, webhook_pauses=0.005)
        yield Account(sandbox, random.Random(7))


@pytest.fixture
def crew(database_url: str, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(tmp_path, database_url)
    try:
        made.start(SYNCLINE_WORKERS="1")
        made.start(SYNCLINE_WORKERS="1")
        yield made
    finally:
        made.bury_all()


@pytest.fixture
def web(crew: Crew) -> Iterator[Web]:
    options = ("--workers", "2", "--threads", "4")
    order = str(crew.order)
    with (
        serving(*options, app="tests.inbound.crashing", database_url=crew.database_url, crash_at=order) as running,
        override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUBLIC_URL=running.url, ALLOWED_HOSTS=["*"]),
    ):
        yield running


def follow(account: Account, web: Web) -> None:
    """Our companies are those of the account, by what it tells alone."""
    user = User.objects.create_superuser("ann", "ann@example.org", "x")
    connection = connect_by_oauth(user, account.sandbox)
    catalog.refresh(connection)
    make_sync(connection, user, "companies.company", "companies", direction="pull")
    slug = addresses.make(Registration.objects.get()).names.get().slug
    account.sandbox.admin.subscribe(f"{web.url}/hooks/{slug}/", *EVENTS, secret=CLIENT_SECRET)


def wait(account: Account) -> None:
    """Until nothing is to be delivered, dispatched or fetched any more."""
    until = time.monotonic() + WITHIN

    def rests() -> bool:
        events = InboxEvent.objects.filter(state="waiting").count()
        return not account.count("waiting") and not events and not Run.objects.filter(state__in=Run.ACTIVE).exists()

    while not rests():
        assert time.monotonic() < until, "Not all events were settled."
        time.sleep(0.2)


def test_every_acknowledged_event_has_exactly_one_effect_whoever_is_killed(account: Account, web: Web, crew: Crew) -> None:
    follow(account, web)
    killer, begun, shots = Killer(web, crew, random.Random(7)), time.monotonic(), 0
    while account.count("told") < DELIVERIES * 3 // 4 or account.count("waiting"):
        if account.count("told") < DELIVERIES * 3 // 4 and account.count("waiting") < FLOOD:
            account.go_on()
            if account.edits % (REST * EDITS) == 0:
                wait(account)
        if account.count("acknowledged") * KILLS >= shots * DELIVERIES:
            killer.step()
            shots += 1
        time.sleep(0.05)
    killer.rest()
    delivered = time.monotonic() - begun
    wait(account)

    acknowledged, counted = account.sandbox.admin.acknowledged(), account.sandbox.admin.webhooks()
    print(
        f"\nevents: {counted['told']} of {len(account.values)} companies, deliveries: {counted['deliveries']}"
        f" ({counted['refused']} without an answer, {len(acknowledged) - len(set(acknowledged))} of the others repeated),"
        f" killed: {dict(killer.killed)}, {delivered:.0f} s until told, {time.monotonic() - begun:.0f} s until settled,"
        f" {sum(written().values())} rows written by {Run.objects.count()} runs"
    )
    kept = Counter(int(key.split(":")[0]) for key in InboxEvent.objects.values_list("key", flat=True))
    assert kept == Counter(set(acknowledged))
    assert len(kept) == counted["told"]
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"done"}
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    compare(account.sandbox.admin)
    too_often = {id_: times for id_, times in written().items() if times > account.values[id_]}
    assert too_often == {}
    assert killer.killed["web"] + killer.killed["worker"] + killer.killed["supervisor"] >= KILLS // 2
    assert killer.at(WEB_POINTS) >= 1
    assert killer.at(WORKER_POINTS) >= 1
