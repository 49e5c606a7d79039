"""The account's definitions change between runs and during one: only the field that changed is left out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange
from syncline.contract import (
    AuthError,
    Change,
    Choice,
    Code,
    ConfigError,
    Kind,
    ObjectType,
    Op,
    Property,
    PushResult,
    RecordError,
    Retryable,
    Status,
    SynclineError,
)
from syncline.ledger.models import Entry, ErrorGroup, Link
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.runs.push import definitions, results, sender
from syncline.runs.start import start_run
from syncline.syncs import publish
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import KEY, PROPERTIES, Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)

CITY = Property("city", "City")
NICK = Property("nick", "Nick name")
SIZE = Property("size", "Size", Kind.CHOICE, choices=tuple(Choice(c, c.title()) for c in ("small", "large", "huge")))
SIZES = ("small", "large", "huge")


class Account(Vendor):
    """Refuses what its definitions do not allow, record by record, and has a moment at which they change."""

    def __init__(self) -> None:
        super().__init__()
        self.known = {one.name: one for one in (*PROPERTIES, NICK, SIZE, KEY)}
        self.discoveries = 0
        self.refusals: dict[Code, int] = {}
        self.cannot_tell: SynclineError | None = None
        self.at: dict[int, Any] = {}

    def types(self) -> list[ObjectType]:
        self.discoveries += 1
        if self.cannot_tell:
            raise self.cannot_tell
        properties = tuple(self.known.values())
        return [replace(one, properties=properties) for one in super().types()]

    def change(self, name: str, **more: Any) -> None:
        with self.lock:
            self.known[name] = replace(self.known[name], **more)

    def lose(self, name: str) -> None:
        with self.lock:
            del self.known[name]
            for held in self.tables["people"].values():
                held.properties.pop(name, None)

    def without_choice(self, name: str, *gone: str) -> None:
        self.change(name, choices=tuple(one for one in self.known[name].choices if one.value not in gone))

    def carry_out(self, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
        with self.lock:
            if moment := self.at.pop(len(self.pushes), None):
                moment()
            refused = {one.local_key: error for one in changes if (error := self._refusal(one))}
            for error in refused.values():
                self.refusals[error.code] = self.refusals.get(error.code, 0) + 1
            written = super().carry_out(object_type, [one for one in changes if one.local_key not in refused])
            return [*written, *(PushResult(key, Status.REJECTED, error=error) for key, error in refused.items())]

    def _refusal(self, change: Change) -> RecordError | None:
        for name, value in change.properties.items():
            found = self.known.get(name)
            if found is None:
                return RecordError(Code.UNKNOWN_PROPERTY, f"There is no {name}.", name)
            if found.read_only:
                return RecordError(Code.READ_ONLY, f"{name} cannot be written.", name)
            if found.kind is Kind.CHOICE and value is not None and value not in {one.value for one in found.choices}:
                return RecordError(Code.INVALID_CHOICE, f"{value} is not offered.", name)
            if found.kind is Kind.NUMBER and isinstance(value, str):
                return RecordError(Code.INVALID_VALUE, f"{value} is no number.", name)
        return None


RULES: dict[str, dict[str, Any]] = {
    "name": {},
    "email": {},
    "city": {},
    "nick": {"source": "username"},
    "size": {"source": "city"},
}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def lab(account: Account, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    settings.SYNCLINE_DRIFT_SECONDS = 0.0
    settings.SYNCLINE_CATALOG_MAX_AGE = 3600.0
    with installed(account):
        yield Lab(account)


def people(number: int, start: int = 0) -> list[User]:
    """Their cities are sizes, one after the other."""
    return User.objects.bulk_create(
        User(username=f"u{n:05}", first_name=f"Name {n}", last_name=SIZES[n % 3], email=f"p{n}@example.org")
        for n in range(start, start + number)
    )


def suspended(run: Run) -> dict[str, int]:
    """Fields that the run says are suspended, each with its records where it is not all of them."""
    return dict(ErrorGroup.objects.filter(run_id=run.pk, code="suspended").values_list("property", "count"))


def assert_all_there(account: Account, number: int, *fields: str) -> None:
    """Everybody once, with these fields."""
    here = {
        f"p{n}@example.org": {"name": f"Name {n}", "nick": f"u{n:05}", "city": SIZES[n % 3], "size": SIZES[n % 3]}
        for n in range(number)
    }
    there = account.live()
    assert sorted(str(one.properties["email"]) for one in there) == sorted(here)
    for one in there:
        wanted = here[str(one.properties["email"])]
        assert {name: one.properties.get(name) for name in fields} == {name: wanted[name] for name in fields}


def forget_hour() -> None:
    """As if the last discovery was long ago."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncline_objectsnapshot SET discovered_at = discovered_at - interval '2 hours'")


# during a run


def test_a_property_lost_in_mid_run_costs_only_its_field(lab: Lab, account: Account) -> None:
    people(600)
    sync = lab.sync(RULES)
    account.at[20] = lambda: account.lose("nick")
    before = account.discoveries

    run = lab.run(sync)

    assert (run.state, run.reason) == (Run.State.PROBLEMS, "1 field suspended: nick.")
    assert (counts(run), run.read) == ({"created": 600}, 600)
    assert_all_there(account, 600, "name", "city", "size")
    assert suspended(run) == {"nick": 0}
    assert account.discoveries - before == 1  # however many threads were refused
    assert 0 < account.refusals[Code.UNKNOWN_PROPERTY] <= 100  # what was on its way, no more
    assert not Link.objects.exclude(state=Link.State.DELIVERED)

    calls = len(account.pushes)
    again = lab.run(sync)
    assert (len(account.pushes), counts(again)) == (calls, {"unchanged": 600})
    assert again.reason == "1 field suspended: nick."


def test_many_things_change_at_once_and_only_they_are_left_out(lab: Lab, account: Account) -> None:
    people(400)
    sync = lab.sync(RULES)

    def everything() -> None:
        account.change("city", kind=Kind.NUMBER)
        account.lose("nick")
        account.without_choice("size", "huge")

    account.at[12] = everything
    run = lab.run(sync)

    assert run.reason == "3 fields suspended: city, nick, size."
    assert (counts(run), run.read) == ({"created": 400}, 400)
    assert_all_there(account, 400, "name")
    sizes = [one.properties.get("size") for one in account.live()]
    assert sizes.count("small") == 134
    assert sizes.count("large") == 133
    assert sizes.count("huge") < 133  # those that were created before keep it


def test_a_choice_lost_is_left_out_only_where_it_is_the_value(lab: Lab, account: Account) -> None:
    people(300)
    sync = lab.sync(RULES)
    lab.run(sync)
    User.objects.filter(last_name="large", username__gte="u00150").update(last_name="huge")
    account.without_choice("size", "huge")
    catalog.refresh(lab.connection)

    run = lab.run(sync)

    assert run.reason == "1 field suspended: size."
    assert counts(run) == {"updated": 50, "unchanged": 250}  # their city is told
    assert suspended(run) == {"size": 150}
    assert {one.properties["size"] for one in account.live() if one.properties["city"] == "huge"} == {"huge", "large"}
    assert account.refusals == {}
    link = Link.objects.filter(code="suspended").first()
    assert link is not None
    assert link.state == Link.State.DELIVERED
    assert "no longer offers the choice “huge”" in link.reason

    calls = len(account.pushes)
    assert suspended(lab.run(sync)) == {"size": 150}  # said in every run
    assert len(account.pushes) == calls

    account.change("size", choices=SIZE.choices)
    catalog.refresh(lab.connection)
    back = lab.run(sync)
    assert (back.state, counts(back)) == (Run.State.SUCCEEDED, {"updated": 50, "unchanged": 250})
    assert_sizes_follow_cities(account)


def assert_sizes_follow_cities(account: Account) -> None:
    assert all(one.properties["size"] == one.properties["city"] for one in account.live())
