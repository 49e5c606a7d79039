"""Two owners who know nothing of each other, each with a connection to the toy vendor, a sync, runs and a ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import QuerySet
from django.utils import timezone
from syncline import registry
from syncline.catalog import service as catalog
from syncline.connections import service
from syncline.contract import AppSpec, Dataset, DatasetInfo, Field, Kind, Segment, hookimpl
from syncline.ledger.models import Entry, ErrorGroup, Link
from syncline.models import Connection, FieldRule, Registration, Sync
from syncline.registry import Registry
from syncline.runs.models import Run, RunPart
from syncline.syncs import publish

TOKEN = {"token": "static-token-canary"}
PASSWORD = "correct horse"


class Users(Dataset):
    info = DatasetInfo(
        "test.user",
        "Users",
        (Field("username", "User name"), Field("email", "E-mail", Kind.EMAIL), Field("first_name", "First name")),
        (Segment("", "All"), Segment("staff", "Staff")),
        permission="auth.view_user",
        model="auth.User",
    )

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        return User.objects.filter(is_staff=True) if segment else User.objects.all()

    def title(self, keys: Collection[str]) -> dict[str, str]:
        wanted = [int(key) for key in keys if key.isdecimal()]
        return {str(pk): name for pk, name in User.objects.filter(pk__in=wanted).values_list("pk", "username")}


class App(AppSpec):
    label = "test"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        register(Users())


@contextmanager
def plugins() -> Iterator[None]:
    """The toy connector of the `vendor` fixture together with the dataset."""
    entry = EntryPoint("toy", "toy_vendor_connector:Toy", "syncline.connectors")
    with registry.using(Registry([entry], [App()])):
        yield


def staff(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, f"{name}@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@dataclass
class Estate:
    """What one owner has. Every name in it begins with the owner's, so that it is noticed where it should not be."""

    owner: User
    connection: Connection
    sync: Sync
    run: Run
    link: Link
    group: ErrorGroup

    @property
    def marker(self) -> str:
        return f"{self.owner.username}s-"

    def more_runs(self, number: int) -> None:
        for _ in range(number):
            made = Run.objects.create(
                sync=self.sync, version=self.run.version, state=Run.State.PROBLEMS, started_at=timezone.now(), read=9
            )
            RunPart.objects.create(run=made, kind=RunPart.Kind.RANGE, state=RunPart.State.DONE)
            explain(made, self.marker, [self.link.local_key])

    def more_links(self, number: int) -> None:
        for each in range(number):
            user = User.objects.create_user(f"{self.marker}person{each}-{Link.objects.count()}")
            link(self.sync, user, Link.State.REJECTED, self.run)

    def more_syncs(self, number: int) -> None:
        for each in range(number):
            made = Sync.objects.create(
                name=f"{self.marker}sync{each}", connection=self.connection, dataset="test.user", object_type="things"
            )
            FieldRule.objects.create(sync=made, source="email", target="name", position=1)
            publish.publish(made, self.owner)
            made.refresh_from_db()
            assert made.current is not None
            Run.objects.create(sync=made, version=made.current, state=Run.State.SUCCEEDED)


def link(sync: Sync, user: User, state: str, run: Run) -> Link:
    made = Link.objects.create(
        connection=sync.connection,
        object_type=sync.object_type,
        dataset=sync.dataset,
        local_key=str(user.pk),
        remote_id=f"remote-{sync.connection_id}-{user.pk}",
        state=state,
        code="too_long",
        reason=f"{sync.name}: the name is too long.",
        last_run_id=run.pk,
    )
    Entry.objects.create(
        link_id=made.pk, run_id=run.pk, op="create", status="rejected", message="too long", sent={"name": f"{sync.name} value"}
    )
    return made


def explain(run: Run, marker: str, keys: list[str]) -> ErrorGroup:
    return ErrorGroup.objects.create(
        run_id=run.pk,
        cause=f"c{run.pk}",
        state=Link.State.REJECTED,
        code="too_long",
        property="name",
        message=f"{marker}name is too long.",
        next_step="Shorten it.",
        count=len(keys),
        samples=keys,
    )


def estate(name: str, url: str) -> Estate:
    owner = staff(name, "view_user", "add_connection")
    mark = f"{name}s-"
    app = Registration.objects.create(connector="toy", name=f"{mark}app", client_id="id", client_secret="client-s3cr3t-canary")
    connection = Connection.objects.create(
        connector="toy", name=f"{mark}connection", owner=owner, registration=app, settings={"url": url}
    )
    service.connect(connection, "token", TOKEN)
    Connection.objects.filter(pk=connection.pk).update(account_name=f"{mark}account")
    catalog.refresh(connection)
    connection.objects_offered.update(title=f"{mark}things")
    sync = Sync.objects.create(
        name=f"{mark}sync", connection=connection, dataset="test.user", object_type="things", cron="0 3 * * *"
    )
    FieldRule.objects.create(sync=sync, source="email", target="name", position=1, transforms=[{"name": "trim"}])
    publish.publish(sync, owner)
    sync.refresh_from_db()
    assert sync.current is not None
    run = Run.objects.create(sync=sync, version=sync.current, state=Run.State.PROBLEMS, read=1, rejected=1)
    RunPart.objects.create(run=run, kind=RunPart.Kind.RANGE, state=RunPart.State.DONE, owner=f"{mark}worker")
    made = link(sync, User.objects.create_user(f"{mark}person"), Link.State.REJECTED, run)
    return Estate(owner, connection, sync, run, made, explain(run, mark, [made.local_key]))
