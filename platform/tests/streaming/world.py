"""An inbox, a system of logs and a register of users, and the two continuous syncs between them."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import F, QuerySet
from django.test import Client, override_settings
from syncline import registry
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import Code, Dataset, DatasetInfo, Field, Kind, LocalChange, Op, RecordError, Status, Written, hookimpl
from syncline.inbox import addresses
from syncline.ledger.messages import Outgoing
from syncline.runs import inbox
from syncline.runs.models import Run, RunPart
from syncline.runs.stream import claiming
from syncline.runs.stream.carrying import in_thread
from syncline.runs.stream.keeping import Keeper
from syncline.syncs.models import FieldRule, Sync
from syncline.syncs.publish import publish

from .topic import Logs, Topics


class Register(Dataset):
    """Users by their name in the message; `applied`: what was written, in its order."""

    info = DatasetInfo(
        "test.register",
        "Register",
        (
            Field("key", "Key", writable=True, required=True),
            Field("name", "Name", writable=True),
            Field("note", "Note", Kind.JSON, writable=True),
        ),
        writes=frozenset({Op.UPSERT}),
    )
    applied: list[tuple[str, int | None, Any]] = []
    latest: dict[str, int] = {}

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        return User.objects.filter(is_staff=False).annotate(key=F("username"), name=F("first_name"))

    def write(self, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
        return [self._one(change) for change in changes]

    def _one(self, change: LocalChange) -> Written:
        key, name = change.values["key"], change.values.get("name")
        if name == "refused":
            return Written(change.token, Status.REJECTED, error=RecordError(Code.INVALID_VALUE, "Nobody is called so.", "name"))
        if name == "poison":
            raise ZeroDivisionError("the writer is broken")
        user, made = User.objects.get_or_create(username=str(key))
        if change.sequence is not None and int(user.last_name or 0) >= change.sequence:
            return Written(change.token, Status.UNCHANGED, str(user.pk))
        User.objects.filter(pk=user.pk).update(first_name=name or "", last_name=str(change.sequence or 0))
        return Written(change.token, Status.CREATED if made else Status.UPDATED, str(user.pk))


class App:
    label = "test"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        register(Register())


@contextmanager
def installed(topics: Topics) -> Iterator[None]:
    module = ModuleType("fake_logs_connector")
    module.Logs = type("Logs", (Logs,), {"topics": topics})  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        entry = EntryPoint("logs", f"{module.__name__}:Logs", "syncline.connectors")
        with registry.using(registry.Registry([entry], [App(), apps.get_app_config("syncline")])):
            yield
    finally:
        del sys.modules[module.__name__]


class World:
    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.owner = User.objects.create_superuser("owner", "owner@example.org", "x")
        self.system = self._connection("Source")
        self.broker = self._connection("Broker")
        catalog.refresh(self.broker)
        self.slug = addresses.make(self.system).names.get().slug
        self._threads: list[tuple[threading.Thread, threading.Event, threading.Event]] = []

    def _connection(self, name: str) -> Connection:
        made = Connection.objects.create(connector="logs", name=name, owner=self.owner)
        Connection.objects.filter(pk=made.pk).update(state="ok", account_id=name)
        made.refresh_from_db()
        return made

    def relay(self, **options: Any) -> Sync:
        """From the inbox to the topic."""
        given = {"dataset": "syncline.inbox", "direction": "push", "source": self.system, **options}
        return self._sync("inbox to topic", {"data": "$"}, given)

    def stream(self, **options: Any) -> Sync:
        """From the topic to the register."""
        given = {"dataset": "test.register", "direction": "pull", **options}
        return self._sync("topic to register", {"key": "key", "name": "name"}, given)

    def _sync(self, name: str, rules: dict[str, str], options: dict[str, Any]) -> Sync:
        given = {"name": name, "connection": self.broker, "object_type": "topic", "continuous": True, **options}
        sync = Sync.objects.create(created_by=self.owner, **given)
        for position, (source, target) in enumerate(rules.items()):
            FieldRule.objects.create(sync=sync, position=position, source=source, target=target)
        publish(sync, self.owner)
        sync.refresh_from_db()
        return sync

    def post(self, *told: Any) -> int:
        """And reads what was delivered; what becomes of its events is for `dispatch`."""
        answer = Client().post(f"/hooks/{self.slug}/", json.dumps(told), content_type="application/json", secure=True)
        inbox.read_stored()
        return answer.status_code

    def dispatch(self) -> None:
        while inbox.dispatch():
            pass

    # carrying out

    def keep(self) -> None:
        Keeper(every=0.0).look()

    def begin(self, owner: str = "one") -> None:
        """Claims whatever can be claimed, and carries it out until `halt`."""
        self.keep()
        self._claim(owner)

    def _claim(self, owner: str) -> None:
        while (claim := claiming.claim(owner)) is not None:
            stop, wake = threading.Event(), threading.Event()
            self._threads.append((in_thread(claim, stop, wake), stop, wake))

    def halt(self) -> None:
        for _, stop, wake in self._threads:
            stop.set()
            wake.set()
        for thread, _, _ in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._threads.clear()

    def wake(self) -> None:
        for _, _, wake in self._threads:
            wake.set()

    @contextmanager
    def going(self) -> Iterator[None]:
        self.begin()
        try:
            yield
        finally:
            self.halt()
            connections.close_all()

    def until(self, true: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come to pass in time"
            self.wake()
            if self._threads:
                self._claim("one")  # what paused meanwhile
            time.sleep(0.02)

    # what there is

    def outgoing(self) -> dict[str, int]:
        states = list(Outgoing.objects.values_list("state", flat=True))
        return {state: states.count(state) for state in set(states)}

    def here(self) -> dict[str, str]:
        return dict(User.objects.filter(is_staff=False).values_list("username", "first_name"))

    def run(self) -> Run:
        return Run.objects.get(kind=Run.Kind.STREAM, state__in=Run.ACTIVE)

    def counted(self, name: str) -> int:
        return sum(RunPart.objects.filter(kind__in=RunPart.CONTINUOUS).values_list(name, flat=True))


@contextmanager
def opened(**settings: Any) -> Iterator[World]:
    """With nothing left at work at its end."""
    topics = Topics()
    with installed(topics), override_settings(**settings):
        made = World(topics)
        yield made
        made.halt()


def reachable() -> AbstractContextManager[World]:
    """One that systems can deliver to."""
    return opened(SYNCLINE_PUBLIC_URL="https://sync.example.com", ALLOWED_HOSTS=["*"])


def settled(number: int) -> bool:
    """Whether so many messages were passed on, or will not be."""
    return Outgoing.objects.exclude(state="waiting").count() == number
