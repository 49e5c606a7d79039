"""A connector for a log, an app that takes its messages, and continuous syncs between them and the inbox."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import F, QuerySet
from django.utils import timezone
from syncline import registry
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import (
    AppSpec,
    AuthMethod,
    Capability,
    ConnectorInfo,
    ConnectorSpec,
    Dataset,
    DatasetInfo,
    Field,
    Kind,
    LocalChange,
    ObjectType,
    Op,
    Property,
    RecordRejected,
    Session,
    Status,
    SuggestedMapping,
    SuggestedRule,
    Written,
    hookimpl,
)
from syncline.inbox import addresses
from syncline.inbox.log import InboxLog
from syncline.inbox.models import Delivery, InboxEvent
from syncline.ledger.messages import DeadLetter, Outgoing
from syncline.registry import Registry
from syncline.runs.models import Run, RunPart, StreamWorker
from syncline.runs.stream.keeping import Keeper
from syncline.syncs import publish
from syncline.syncs.models import FieldRule, Sync

TOPIC = ObjectType(
    "seats",
    "Seats",
    (
        Property("$", "The whole message", Kind.JSON),
        Property("customer", "Customer"),
        Property("seats", "Seats", Kind.NUMBER),
    ),
    {Op.CREATE: 100},
    follow=True,
    log=True,
    dead_letters="seats.dead",
)
PLAIN = ObjectType("plain", "Plain", (Property("name", "Name"),), {Op.CREATE: 10, Op.UPDATE: 10})
FOLLOWED = ObjectType("accounts", "Accounts", (Property("name", "Name"),), {Op.CREATE: 10, Op.UPDATE: 10}, follow=True)


class Log(ConnectorSpec):
    objects: Sequence[ObjectType] = (TOPIC, PLAIN, FOLLOWED)

    @hookimpl
    def describe(self) -> ConnectorInfo:
        able = frozenset({Capability.DISCOVER, Capability.SUGGEST_MAPPING, Capability.PARTITIONS})
        return ConnectorInfo("log", "Log", "1", ">=1,<2", able)

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod("none", "Nothing", "none")]

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return self.objects

    @hookimpl
    def partitions(self, session: Session, object_type: ObjectType) -> Sequence[str]:
        return ["0", "1"]

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        if dataset.log:
            return SuggestedMapping((SuggestedRule("$", "data"),))
        return SuggestedMapping((SuggestedRule("customer", "customer"), SuggestedRule("seats", "seats")))


class Seats(Dataset):
    """Users as licences: the name is the customer, the last name the number of seats, the first name the last sequence."""

    info = DatasetInfo(
        "test.seat",
        "Seats",
        (
            Field("customer", "Customer", writable=True, required=True),
            Field("seats", "Seats", Kind.NUMBER, writable=True),
        ),
        permission="auth.view_user",
        model="auth.User",
        writes=frozenset({Op.UPSERT}),
    )
    wrong: set[str] = set()

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        return User.objects.annotate(customer=F("username"), seats=F("last_name"))

    def title(self, keys: Collection[str]) -> dict[str, str]:
        return {str(pk): name for pk, name in User.objects.filter(pk__in=keys).values_list("pk", "username")}

    def write(self, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
        return [self._one(change) for change in changes]

    def _one(self, change: LocalChange) -> Written:
        customer = str(change.values["customer"])
        if customer in self.wrong:
            raise RecordRejected(f"There is no customer {customer}.", change.token, "customer")
        user, created = User.objects.get_or_create(username=customer)
        if not created and change.sequence is not None and int(user.first_name or 0) >= change.sequence:
            return Written(change.token, Status.UNCHANGED, str(user.pk))
        user.first_name, user.last_name = str(change.sequence or 0), str(change.values.get("seats"))
        user.save()
        return Written(change.token, Status.CREATED if created else Status.UPDATED, str(user.pk))


class States(Dataset):
    """Takes no messages."""

    info = DatasetInfo(
        "test.state",
        "States",
        (Field("name", "Name", writable=True),),
        model="auth.Group",
        writes=frozenset({Op.CREATE, Op.UPDATE, Op.DELETE}),
    )

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        return User.objects.annotate(name=F("username"))

    def title(self, keys: Collection[str]) -> dict[str, str]:
        return {}


class App(AppSpec):
    label = "test"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        for dataset in (Seats(), States(), InboxLog()):
            register(dataset)


@contextmanager
def installed() -> Iterator[None]:
    module = ModuleType("fake_log_connector")
    module.Log = Log  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    Seats.wrong = set()
    try:
        with registry.using(Registry([EntryPoint("log", f"{module.__name__}:Log", "syncline.connectors")], [App()])):
            yield
    finally:
        del sys.modules[module.__name__]


PERMISSIONS = ("view_user", "view_inboxevent", "add_connection")


def staff(name: str, *more: str) -> User:
    user = User.objects.create_user(name, f"{name}@example.com", "x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=(*PERMISSIONS, *more)))
    return User.objects.get(pk=user.pk)


class World:
    """One owner with two connections: `vendor`, whose messages arrive, and `log`."""

    def __init__(self, name: str = "ann", *more: str) -> None:
        self.owner = staff(name, "resolve_deadletter", "move_checkpoint", *more)
        self.log = Connection.objects.create(connector="log", name=f"{name}s-log", owner=self.owner, state="ok")
        self.vendor = Connection.objects.create(connector="log", name=f"{name}s-vendor", owner=self.owner, state="ok")
        self.address = addresses.make(self.vendor)
        catalog.refresh(self.log)

    def relay(self, **options: Any) -> Sync:
        given = {"dataset": "syncline.inbox", "source": self.vendor, "direction": "push", **options}
        return self._sync("passes on", [("data", "$")], given)

    def stream(self, **options: Any) -> Sync:
        given = {"dataset": "test.seat", "direction": "pull", **options}
        return self._sync("takes in", [("customer", "customer"), ("seats", "seats")], given)

    def _sync(self, name: str, rules: Sequence[tuple[str, str]], given: dict[str, Any]) -> Sync:
        named = f"{self.owner.username}s-sync that {name}"
        made = Sync.objects.create(name=named, connection=self.log, object_type="seats", continuous=True, **given)
        for position, (source, target) in enumerate(rules):
            FieldRule.objects.create(sync=made, source=source, target=target, position=position)
        publish.publish(made, self.owner)
        made.refresh_from_db()
        return made

    def kept(self, sync: Sync) -> Run:
        """The run that the keeper begins for it."""
        Keeper().look()
        return Run.objects.get(sync=sync, kind=Run.Kind.STREAM, state__in=Run.ACTIVE)

    def event(self, key: str = "c-1", ago: float = 0.0, **more: Any) -> InboxEvent:
        at = timezone.now() - dt.timedelta(seconds=ago)
        delivery = Delivery.objects.create(
            address=self.address, method="POST", url="/", body=b"{}", size=2, state="read", received_at=at
        )
        given = {"state": "done", "data": {"customer": key}, **more}
        return InboxEvent.objects.create(
            delivery=delivery, position=0, connection=self.vendor, kind="message", object_type="order", remote_id=key,
            received_at=at, **given,
        )  # fmt: skip

    def outgoing(self, sync: Sync, event: InboxEvent, state: str = "waiting", **more: Any) -> Outgoing:
        return Outgoing.objects.create(
            sync=sync, event_id=event.pk, shard=more.pop("shard", 0), key=event.remote_id, state=state, **more
        )

    def letter(self, sync: Sync, place: str = "0:17", **more: Any) -> DeadLetter:
        run = Run.objects.filter(sync=sync).order_by("-pk").first() or self.kept(sync)
        customer = more.pop("customer", "c-1")
        given: dict[str, Any] = {
            "key": customer,
            "sequence": 5,
            "body": b'{"customer": "c-1"}',
            "properties": {"customer": customer, "seats": "12"},
            "code": "invalid_value",
            "reason": f"There is no customer {customer}.",
            "message_id": f"7:{place}",
            **more,
        }
        return DeadLetter.objects.create(sync=sync, run_id=run.pk, partition=place.partition(":")[0], remote_id=place, **given)


def process(name: str = "mill:1:a", host: str = "mill", pid: int = 11, quiet: float = 0.0) -> StreamWorker:
    at = timezone.now() - dt.timedelta(seconds=quiet)
    return StreamWorker.objects.create(name=name, host=host, pid=pid, started_at=at, beat_at=at)


def carried(run: Run, by: StreamWorker, partition: str, **more: Any) -> None:
    """As if the process were at it."""
    until = timezone.now() + dt.timedelta(seconds=60)
    run.parts.filter(partition=partition).update(state=RunPart.State.LEASED, owner=by.name, lease_until=until, **more)


def failed(run: Run, partition: str, error: str, seconds: float = 30.0, attempt: int = 4) -> None:
    """As if its process had met this error again and again, for five minutes."""
    now = timezone.now()
    run.parts.filter(partition=partition).update(
        state=RunPart.State.QUEUED,
        last_error=error,
        not_before=now + dt.timedelta(seconds=seconds),
        failing_since=now - dt.timedelta(seconds=300),
        attempt=attempt,
    )
