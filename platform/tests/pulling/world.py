"""Users as a dataset that can be written to, and syncs that pull into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Lower
from pushing.lab import Lab, People, Teams
from syncline import registry
from syncline.catalog import service as catalog
from syncline.contract import (
    Code,
    Dataset,
    DatasetInfo,
    Field,
    Kind,
    LocalChange,
    Op,
    RecordError,
    RecordRejected,
    Status,
    Written,
    hookimpl,
)
from syncline.contract.values import Value
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Checkpoint, Conflict
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.runs.pull import noting, window
from syncline.syncs.engine import Direction
from syncline.syncs.models import FieldRule, MatchStepRow, Sync
from syncline.syncs.publish import publish

from .account import Account, PulledFake

COLUMNS = {"name": "first_name", "city": "last_name", "email": "email"}


def _writable(field: Field) -> Field:
    return replace(field, writable=field.name in (*COLUMNS, "teams"), required=field.name == "name")


class WrittenPeople(People):
    """`poisoned`: names that make the writer fail. `writes`: sizes of the batches it was given."""

    info: DatasetInfo = replace(
        People.info,
        fields=(*map(_writable, People.info.fields), Field("date_joined", "Changed", Kind.DATETIME)),
        writes=frozenset({Op.CREATE, Op.UPDATE, Op.DELETE}),
        modified="date_joined",
    )
    poisoned: set[str] = set()
    writes: list[int] = []

    def write(self, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
        self.writes.append(len(changes))
        return [self._one(change) for change in changes]

    def _one(self, change: LocalChange) -> Written:
        name = change.values.get("name")
        if name == "refused":
            raise RecordRejected("This name is taken by nobody.", change.token, "name", Code.INVALID_VALUE)
        if name == "long":
            return Written(change.token, Status.REJECTED, error=RecordError(Code.TOO_LONG, "The name is too long.", "name"))
        if name in self.poisoned:
            raise ZeroDivisionError("the writer is broken")
        if change.op is Op.DELETE:
            User.objects.filter(pk=change.local_key or 0).delete()
            return Written(change.token, Status.UPDATED, change.local_key)
        if change.op is Op.CREATE:
            return self._create(change)
        return self._update(change)

    def _create(self, change: LocalChange) -> Written:
        made = User.objects.create(username=f"from {change.token}", **_columns(change.values))
        self._teams(made, change.values)
        return Written(change.token, Status.CREATED, str(made.pk))

    def _update(self, change: LocalChange) -> Written:
        user = User.objects.filter(pk=change.local_key or 0).first()
        if user is None:
            return Written(change.token, Status.REJECTED, error=RecordError(Code.NOT_FOUND, "It is not here."))
        columns = _columns(change.values)
        changed = any(getattr(user, name) != value for name, value in columns.items()) or "teams" in change.values
        User.objects.filter(pk=user.pk).update(**columns)
        self._teams(user, change.values)
        return Written(change.token, Status.UPDATED if changed else Status.UNCHANGED, str(user.pk))

    def _teams(self, user: User, values: Any) -> None:
        if "teams" in values:
            user.groups.set([int(key) for key in values["teams"] or ()])

    def find(self, field: str, values: Any) -> Any:
        if field not in COLUMNS:
            return None
        return self.rows(()).alias(low=Lower(COLUMNS[field])).filter(low__in=list(values))


def _columns(values: Any) -> dict[str, Any]:
    return {COLUMNS[name]: value or "" for name, value in values.items() if name in COLUMNS}


class App:
    label = "test"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        datasets: tuple[Dataset, ...] = (WrittenPeople(), Teams())
        for dataset in datasets:
            register(dataset)


@contextmanager
def installed(account: Account, without: Sequence[str] = ()) -> Iterator[None]:
    """The fake connector, without some of its hooks, and the datasets are all that is installed."""
    WrittenPeople.poisoned, WrittenPeople.writes = set(), []
    module = ModuleType("fake_pulled_connector")
    module.Fake = type("Fake", (PulledFake,), {"vendor": account, **dict.fromkeys(without)})  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        entry = EntryPoint("fake", f"{module.__name__}:Fake", "syncline.connectors")
        with registry.using(registry.Registry([entry], [App()])):
            yield
    finally:
        del sys.modules[module.__name__]


RULES = ("name", "email", "city")


class World(Lab):
    """A lab whose syncs pull, or go both ways."""

    vendor: Account

    def pulling(
        self,
        direction: str = Direction.PULL,
        owner: str = "review",
        match: tuple[dict[str, Any], ...] = ({"property": "email", "normalise": "email"},),
        teams: bool = False,
        owners: dict[str, str] | None = None,
        **options: Any,
    ) -> Sync:
        sync = self._draft(match, direction, options)
        for position, name in enumerate(RULES):
            FieldRule.objects.create(
                sync=sync, position=position, source=name, target=name, owner=(owners or {}).get(name, owner)
            )
        if teams:
            FieldRule.objects.create(sync=sync, position=9, source="teams", target="teams", association=True, owner=owner)
        publish(sync, self.owner)
        sync.refresh_from_db()
        return sync

    def _draft(self, match: tuple[dict[str, Any], ...], direction: str, options: dict[str, Any]) -> Sync:
        catalog.refresh(self.connection)
        sync = Sync.objects.create(
            name=f"people {direction}",
            connection=self.connection,
            dataset="test.person",
            object_type="people",
            direction=direction,
            created_by=self.owner,
            **options,
        )
        for position, step in enumerate(match):
            MatchStepRow.objects.create(sync=sync, position=position, **step)
        return sync

    def here(self) -> dict[str, tuple[str, str]]:
        """name → (e-mail, city) of our records."""
        return {u.first_name: (u.email, u.last_name) for u in User.objects.filter(is_staff=False)}

    def linked(self) -> dict[str, str]:
        """Remote id → local key."""
        found = Link.objects.filter(remote_id__isnull=False).values_list("remote_id", "local_key")
        return {str(id_): key for id_, key in found}

    def arrivals(self) -> dict[str, tuple[str, str]]:
        return {a.remote_id: (a.state, a.code) for a in Arrival.objects.all()}

    def open_conflicts(self) -> dict[str, tuple[Value, Value]]:
        return {c.property: (c.here, c.there) for c in Conflict.objects.filter(decided_at=None)}

    def checkpoint(self, sync: Sync) -> Checkpoint:
        return Checkpoint.objects.get(sync=sync)

    def changes(self, sync: Sync) -> Run:
        return self.run(sync, Run.Kind.CHANGES)


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world in which nobody waits long, and whose clocks agree with the account's."""
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    monkeypatch.setattr(noting, "PAUSE", 0.05)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        yield World(account)
