"""Fields that belong to whoever changed them last: the moments compared are those of each property, where they are known."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import TruncDate
from syncline.contract import Field, Kind, ObjectType, PastValue, RemoteRecord
from syncline.ledger.pulled import Conflict
from syncline.runs import execute
from syncline.runs.pull import noting, window
from syncline.runs.pull.start import pull_records
from syncline.runs.start import push_keys
from syncline.syncs.engine.content import Owner
from syncline.syncs.engine.threeway import Side, dated, moments, newest
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, WrittenPeople, installed  # noqa: E402

database = pytest.mark.django_db(transaction=True)
T = [dt.datetime(2026, 3, 1, hour, tzinfo=dt.UTC) for hour in range(8)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    monkeypatch.setattr(noting, "PAUSE", 0.05)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        yield World(account)


def record(value: str | None, *past: tuple[str | None, dt.datetime], at: dt.datetime | None = T[7]) -> RemoteRecord:
    history = {"city": tuple(PastValue(was, since) for was, since in past)}
    return RemoteRecord("1", {"city": value}, modified_at=at, history=history)


@pytest.mark.unit
class TestMoments:
    def test_a_property_is_as_old_as_its_present_value(self) -> None:
        told = moments(record("b", ("b", T[3]), ("a", T[1])), T[4])

        assert told.newer("city") is Side.HERE
        assert told.newer("name") is Side.THERE  # of that one only the record's moment is known

    def test_the_same_value_written_once_more_is_no_change(self) -> None:
        assert moments(record("b", ("b", T[5]), ("b", T[3]), ("a", T[1])), T[4]).newer("city") is Side.HERE

    def test_a_value_that_came_back_is_as_old_as_its_return(self) -> None:
        assert moments(record("a", ("a", T[5]), ("b", T[3]), ("a", T[1])), T[4]).newer("city") is Side.THERE

    def test_what_came_after_the_value_was_read_does_not_date_it(self) -> None:
        assert moments(record("b", ("c", T[5]), ("b", T[3])), T[4]).newer("city") is Side.HERE

    @pytest.mark.parametrize("past", [(), (("x", T[1]),)])
    def test_a_history_that_does_not_know_the_value_leaves_the_records_moment(self, past: Any) -> None:
        assert moments(record("b", *past), T[4]).newer("city") is Side.THERE

    @pytest.mark.parametrize("here", [None, T[5].date(), T[5].replace(tzinfo=None), "2026-03-01T05:00:00Z"])
    def test_what_is_no_moment_leaves_the_side_open(self, here: object) -> None:
        assert newest(T[4], here) is None
        assert newest(here, T[4]) is None

    def test_only_what_the_newest_decides_is_asked_for_and_only_where_it_is_told(self) -> None:
        owners = {"a": Owner.NEWEST, "b": Owner.REVIEW, "c": Owner.NEWEST}
        telling = ObjectType("people", "People", (), {}, pull_history=True)

        assert dated(owners, ["a", "b", "d"], telling) == ("a",)
        assert dated(owners, ["a"], ObjectType("people", "People", (), {})) == ()


def both(world: World, **owners: str) -> tuple[Sync, str, User]:
    """A two-way sync with one record, the same on both sides."""
    id_ = world.vendor.seed("people", name="Name", email="p@example.org", city="City")
    sync = world.pulling("two_way", owners=owners)
    world.run(sync)
    return sync, id_, User.objects.get(pk=world.linked()[id_])


def edit(user: User, at: dt.datetime, **values: str) -> None:
    User.objects.filter(pk=user.pk).update(date_joined=at, **values)


def theirs(world: World, id_: str) -> tuple[object, ...]:
    held = world.vendor.tables["people"][id_]
    return held.properties["name"], held.properties["city"]


def ours(user: User) -> tuple[str, str]:
    user.refresh_from_db()
    return user.first_name, user.last_name


def clash(world: World, id_: str, user: User) -> None:
    """The name was changed there before it was here, and the city after it."""
    world.vendor.edit(id_, name="Their name")
    at = world.vendor.tick()
    edit(user, at, first_name="Our name", last_name="Our city")
    world.vendor.now = at + dt.timedelta(seconds=1)
    world.vendor.edit(id_, city="Their city")


@database
class TestNewest:
    @pytest.mark.parametrize("how", ["whole", "changes", "fetched", "pushed"])
    def test_of_each_field_the_later_edit_holds(self, world: World, how: str) -> None:
        sync, id_, user = both(world, name="newest", city="newest")
        clash(world, id_, user)

        if how == "fetched":
            pull_records(sync, [id_])
            execute.work(20)
        elif how == "pushed":
            push_keys(sync, [str(user.pk)])
            execute.work(20)
        else:
            world.run(sync, {"whole": "full", "changes": "changes"}[how])
        world.run(sync)

        assert ours(user) == theirs(world, id_) == ("Our name", "Their city")
        assert Conflict.objects.count() == 0

    def test_without_a_history_the_records_moments_decide(self, world: World) -> None:
        world.vendor.tells = False
        sync, id_, user = both(world, name="newest", city="newest")
        clash(world, id_, user)

        world.run(sync)

        assert ours(user) == theirs(world, id_) == ("Their name", "Their city")

    def test_our_own_write_in_their_history_is_no_edit_of_theirs(self, world: World) -> None:
        """It is the latest there when ours is changed once more, with a clock that is behind."""
        sync, id_, user = both(world, city="newest")
        edit(user, dt.datetime.now(dt.UTC), last_name="First")
        world.run(sync)
        assert world.vendor.moments.past[id_]["city"][0].value == "First"
        edit(user, dt.datetime.now(dt.UTC) - dt.timedelta(hours=1), last_name="Second")

        world.run(sync)

        assert ours(user)[1] == theirs(world, id_)[1] == "Second"

    def test_the_history_of_no_other_property_is_asked_for(self, world: World) -> None:
        both(world, city="newest")

        asked = {request.history for request in world.vendor.requests if not request.archived}
        assert asked == {("city",)}
        assert {request.history for request in world.vendor.requests if request.archived} <= {()}

    def test_a_dataset_that_tells_only_the_day_leaves_it_to_a_person(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        sync, id_, user = both(world, city="newest")
        clash(world, id_, user)
        rows = WrittenPeople.rows
        info = WrittenPeople.info
        days = replace(info, fields=(*info.fields, Field("day", "Day", Kind.DATE)), modified="day")
        monkeypatch.setattr(WrittenPeople, "info", days)
        monkeypatch.setattr(WrittenPeople, "rows", lambda *given: rows(*given).annotate(day=TruncDate("date_joined")))

        world.run(sync)

        assert world.open_conflicts()["city"] == ("Our city", "Their city")
