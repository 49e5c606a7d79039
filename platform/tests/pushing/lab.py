"""A register (Django's own users and groups), a connection to the vendor in memory, syncs between them, and runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, OuterRef, QuerySet, TextField, Value
from django.db.models.functions import Cast
from syncline import registry
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import ConfigError, Dataset, DatasetInfo, Dependency, Field, Kind, Segment, hookimpl
from syncline.ledger.models import Entry, ErrorGroup, Link
from syncline.runs.execute import work
from syncline.runs.models import Run
from syncline.runs.start import start_run
from syncline.syncs import publish
from syncline.syncs.models import FieldRule, MatchStepRow, Sync

from .vendor import Fake, Vendor


class People(Dataset):
    """Users who are not staff. `name`, `city` and `tags` live in first_name and last_name."""

    info = DatasetInfo(
        "test.person",
        "People",
        (
            Field("id", "Key", Kind.NUMBER),
            Field("username", "User"),
            Field("name", "Name"),
            Field("email", "E-mail", Kind.EMAIL),
            Field("city", "City"),
            Field("tags", "Tags", many=True),
            Field("teams", "Teams", Kind.REFERENCE, reference="test.team", many=True),
        ),
        segments=(Segment("", "All"), Segment("active", "Active")),
        permission="auth.view_user",
    )
    depends_on = (Dependency("auth_user"), Dependency("auth_user_groups", "user_id", fields=("teams",)))
    annotations: dict[str, Any] = {
        "name": F("first_name"),
        "city": F("last_name"),
        "tags": Func(F("last_name"), Value(","), function="string_to_array", output_field=ArrayField(TextField())),
        "teams": ArraySubquery(
            User.groups.through.objects.filter(user_id=OuterRef("pk"))
            .annotate(k=Cast("group_id", TextField()))
            .order_by("group_id")
            .values("k")  # type: ignore[misc]
        ),
    }

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        wanted = {name: value for name, value in self.annotations.items() if name in fields}
        everyone = User.objects.filter(is_staff=False)
        if segment not in ("", "active"):
            raise ConfigError(f"test.person has no segment {segment!r}.")
        chosen = everyone.filter(is_active=True) if segment else everyone
        return chosen.order_by().values("id").annotate(**wanted)

    def title(self, keys: Collection[str]) -> dict[str, str]:
        return {str(u.pk): u.username for u in User.objects.filter(pk__in=[int(k) for k in keys])}


class PeopleByName(People):
    """The same with a text key."""

    key_field = "username"
    info = DatasetInfo("test.named", "People by name", People.info.fields)


class Teams(Dataset):
    info = DatasetInfo("test.team", "Teams", (Field("id", "Key", Kind.NUMBER), Field("name", "Name")))

    def rows(self, fields: Collection[str], segment: str = "", owner: Any = None) -> QuerySet[Any]:
        return Group.objects.order_by().values("id")

    def title(self, keys: Collection[str]) -> dict[str, str]:
        return {str(g.pk): g.name for g in Group.objects.filter(pk__in=[int(k) for k in keys])}


class App:
    label = "test"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        for dataset in (People(), PeopleByName(), Teams()):
            register(dataset)


@contextmanager
def installed(vendor: Vendor, connector: type[Fake] = Fake) -> Iterator[None]:
    """The fake connector and its datasets are all that is installed."""
    module = ModuleType("fake_vendor_connector")
    module.Fake = type("Fake", (connector,), {"vendor": vendor})  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        entry = EntryPoint("fake", f"{module.__name__}:Fake", "syncline.connectors")
        with registry.using(registry.Registry([entry], [App()])):
            yield
    finally:
        del sys.modules[module.__name__]


class Lab:
    """Everything a test of the push needs; `vendor` is changed before `sync()` where the catalog depends on it."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.owner = User.objects.create(username="owner", email="owner@example.org", is_staff=True, is_superuser=True)
        self.connection = Connection.objects.create(connector="fake", name="Fake account", owner=self.owner)

    def sync(
        self,
        rules: dict[str, dict[str, Any]] | None = None,
        match: tuple[dict[str, Any], ...] = ({"property": "email", "normalise": "email"},),
        dataset: str = "test.person",
        object_type: str = "people",
        **options: Any,
    ) -> Sync:
        catalog.refresh(self.connection)
        sync = Sync.objects.create(
            name=f"{dataset} to {object_type}",
            connection=self.connection,
            dataset=dataset,
            object_type=object_type,
            created_by=self.owner,
            **options,
        )
        for position, step in enumerate(match):
            MatchStepRow.objects.create(sync=sync, position=position, **step)
        return self.rules(sync, {"name": {}, "email": {}, "city": {}} if rules is None else rules)

    def rules(self, sync: Sync, rules: dict[str, dict[str, Any]]) -> Sync:
        """These rules and no others, published. Without a source or expression the field of the target's name is read."""
        sync.rules.all().delete()
        for position, (target, given) in enumerate(rules.items()):
            origin = {} if "expression" in given else {"source": target}
            FieldRule.objects.create(sync=sync, position=position, target=target, **{**origin, **given})
        publish.publish(sync, self.owner)
        sync.refresh_from_db()
        return sync

    def teams(self) -> Sync:
        return self.sync({"name": {}}, match=({"property": "name"},), dataset="test.team", object_type="teams")

    def people(self, number: int, start: int = 0) -> list[User]:
        made = [
            User(username=f"u{n:05}", first_name=f"Name {n}", last_name=f"City {n}", email=f"p{n}@example.org")
            for n in range(start, start + number)
        ]
        return User.objects.bulk_create(made)

    def run(self, sync: Sync, kind: str = Run.Kind.FULL, seconds: float = 30.0) -> Run:
        run = start_run(sync, kind=kind)
        end = time.monotonic() + seconds
        while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
            work(seconds, run.pk)
            assert time.monotonic() < end, "The run does not come to its end."
            time.sleep(0.02)
        run.refresh_from_db()
        return run

    def link(self, user: User | Group) -> Link:
        dataset = "test.person" if isinstance(user, User) else "test.team"
        return Link.objects.get(local_key=str(user.pk), dataset=dataset)

    def states(self) -> dict[str, int]:
        found = Link.objects.values_list("state", flat=True)
        return {state: list(found).count(state) for state in set(found)}

    def groups(self, run: Run) -> dict[str, ErrorGroup]:
        return {group.code: group for group in ErrorGroup.objects.filter(run_id=run.pk)}

    def entries(self, user: User) -> list[tuple[str, str]]:
        return list(Entry.objects.filter(link_id=self.link(user).pk).order_by("id").values_list("op", "status"))


OUTCOMES = ("created", "updated", "adopted", "unchanged", "ambiguous", "rejected", "excluded", "gone")


def counts(run: Run) -> dict[str, int]:
    """What the run counted, without zeros."""
    return {name: getattr(run, name) for name in OUTCOMES if getattr(run, name)}
