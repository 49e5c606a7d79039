"""Two-way syncs: each side's changes reach the other once, overlaps follow the field's owner, and echoes stop."""

from __future__ import annotations

import datetime as dt
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import Op
from syncline.ledger.models import Link
from syncline.ledger.pulled import Conflict
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.runs.pull.decide import decide
from syncline.runs.pull.start import pull_ids
from syncline.runs.start import push_keys
from syncline.syncs.engine import fingerprint
from syncline.syncs.engine.content import Owner
from syncline.syncs.engine.threeway import Side, holds
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World, WrittenPeople  # noqa: E402
from pushing.lab import counts  # noqa: E402

database = pytest.mark.django_db(transaction=True)
State = Link.State


def both(world: World, number: int, **options: Any) -> tuple[Sync, list[str], list[User]]:
    """A two-way sync whose records are the same on both sides."""
    ids = [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city=f"City {n}") for n in range(number)]
    sync = world.pulling("two_way", **options)
    world.run(sync)
    linked = world.linked()
    return sync, ids, [User.objects.get(pk=linked[id_]) for id_ in ids]


def edit(user: User, **values: str) -> None:
    User.objects.filter(pk=user.pk).update(date_joined=dt.datetime.now(dt.UTC), **values)


def theirs(world: World, id_: str) -> tuple[object, ...]:
    held = world.vendor.tables["people"][id_]
    return tuple(held.properties.get(name) for name in ("name", "email", "city"))


def ours(user: User) -> tuple[str, ...]:
    user.refresh_from_db()
    return user.first_name, user.email, user.last_name


def settle(world: World, sync: Sync) -> list[Run]:
    """Whole runs until one is quiet; three at most."""
    runs = []
    for _ in range(3):
        pushed, written = len(world.vendor.pushes), len(WrittenPeople.writes)
        runs.append(world.run(sync))
        if (pushed, written) == (len(world.vendor.pushes), len(WrittenPeople.writes)):
            return runs
    pytest.fail("Writes did not stop within three runs.")


@pytest.mark.unit
class TestThreeWay:
    VALUES = st.sampled_from([None, "a", "b", "c"])

    @given(
        owner=st.sampled_from(list(Owner)),
        base=VALUES,
        here=VALUES,
        there=VALUES,
        newer=st.sampled_from([None, Side.HERE, Side.THERE]),
    )
    def test_what_changed_on_one_side_only_is_never_undone(
        self, owner: Owner, base: str | None, here: str | None, there: str | None, newer: Side | None
    ) -> None:
        agreed = fingerprint(base)
        side = holds(owner, here, there, agreed, agreed, newer)
        if here == there:
            assert side is Side.AGREED
        elif there == base:
            assert side is (Side.QUIET if owner is Owner.THERE else Side.HERE)
        elif here == base:
            assert side is (Side.QUIET if owner is Owner.HERE else Side.THERE)
        else:
            wanted = {
                Owner.HERE: Side.HERE,
                Owner.THERE: Side.THERE,
                Owner.REVIEW: Side.CONFLICT,
                Owner.NEWEST: newer or Side.CONFLICT,
            }
            assert side is wanted[owner]

    def test_a_form_of_the_vendors_own_is_no_change(self) -> None:
        assert holds(Owner.REVIEW, "0044", "+44", fingerprint("0044"), fingerprint("+44")) is Side.QUIET

    def test_who_never_agreed_has_changed_what_is_not_empty(self) -> None:
        assert holds(Owner.REVIEW, "a", None, None, None) is Side.HERE
        assert holds(Owner.REVIEW, None, "a", None, None) is Side.THERE
        assert holds(Owner.REVIEW, "a", "b", None, None) is Side.CONFLICT


@database
class TestBothWays:
    def test_nothing_is_written_when_both_sides_are_the_same(self, world: World) -> None:
        sync, _, _ = both(world, 5)
        world.vendor.pushes.clear()
        WrittenPeople.writes.clear()

        run = world.run(sync)

        assert run.state == Run.State.SUCCEEDED
        assert world.vendor.pushes == []
        assert WrittenPeople.writes == []

    def test_new_records_arrive_on_the_other_side(self, world: World) -> None:
        sync, _, _ = both(world, 2)
        User.objects.create(username="new", first_name="Ours", email="ours@example.org")
        world.vendor.seed("people", name="Theirs", email="theirs@example.org")

        settle(world, sync)

        assert "Theirs" in world.here()
        assert "Ours" in world.vendor.by_name()
        assert len(world.here()) == len(world.vendor.live()) == 4

    def test_a_change_of_ours_goes_there_and_its_echo_is_silent(self, world: World) -> None:
        sync, ids, users = both(world, 3)
        edit(users[0], last_name="Moved")

        first, second = world.run(sync), world.changes(sync)

        assert theirs(world, ids[0]) == ("Name 0", "p0@example.org", "Moved")
        assert first.updated == 1
        assert second.updated == 0
        assert WrittenPeople.writes == [3]

    def test_a_change_of_theirs_comes_here_and_its_echo_is_silent(self, world: World) -> None:
        sync, ids, users = both(world, 3)
        calls = len(world.vendor.pushes)
        world.vendor.edit(ids[0], city="Moved")

        first, second = world.run(sync), world.run(sync)

        assert ours(users[0]) == ("Name 0", "p0@example.org", "Moved")
        assert first.updated == 1
        assert len(world.vendor.pushes) == calls
        assert second.state == Run.State.SUCCEEDED

    def test_disjoint_edits_of_one_record_merge(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], name="Theirs")

        settle(world, sync)

        assert ours(users[0]) == theirs(world, ids[0]) == ("Theirs", "p0@example.org", "Ours")
        assert Conflict.objects.count() == 0

    @pytest.mark.parametrize(("owner", "wanted"), [("newest", "Later"), ("there", "Theirs")])
    def test_overlapping_edits_follow_the_fields_owner(self, world: World, owner: str, wanted: str) -> None:
        sync, ids, users = both(world, 1, owners={"city": owner})
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], city="Theirs")
        if owner == "newest":
            User.objects.filter(pk=users[0].pk).update(
                last_name="Later", date_joined=world.vendor.moments.at[ids[0]] + dt.timedelta(seconds=5)
            )

        settle(world, sync)

        assert ours(users[0])[2] == wanted
        assert theirs(world, ids[0])[2] == wanted
        assert Conflict.objects.count() == 0

    def test_overlapping_edits_go_to_review_and_write_nothing(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours", email="both@example.org")
        world.vendor.edit(ids[0], city="Theirs", email="both@example.org")

        runs = settle(world, sync)

        assert world.open_conflicts() == {"city": ("Ours", "Theirs")}
        assert ours(users[0])[2] == "Ours"
        assert theirs(world, ids[0])[2] == "Theirs"
        assert runs[-1].state == Run.State.PROBLEMS
        assert "1 conflict for review" in runs[-1].reason

    @pytest.mark.parametrize("side", ["here", "there"])
    def test_a_persons_decision_is_carried_out(self, world: World, side: str) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], city="Theirs")
        world.run(sync)

        decide(Conflict.objects.get(), side, world.owner)
        execute.work(20)
        runs = settle(world, sync)

        wanted = {"here": "Ours", "there": "Theirs"}[side]
        assert ours(users[0])[2] == theirs(world, ids[0])[2] == wanted
        assert runs[-1].state == Run.State.SUCCEEDED
        assert Conflict.objects.get().decision == side

    def test_a_conflict_ends_when_the_sides_agree_by_themselves(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], city="Theirs")
        world.run(sync)
        edit(users[0], last_name="Theirs")

        runs = settle(world, sync)

        assert Conflict.objects.get().decision == "agreed"
        assert runs[-1].state == Run.State.SUCCEEDED

    def test_a_single_change_is_pushed_only_after_a_look_at_what_is_there(self, world: World) -> None:
        """The account's change has not been pulled yet when ours is pushed."""
        sync, ids, users = both(world, 2)
        world.vendor.edit(ids[0], city="Theirs", name="Renamed")
        edit(users[0], last_name="Ours")

        push_keys(sync, [str(users[0].pk)])
        execute.work(20)

        assert theirs(world, ids[0]) == ("Renamed", "p0@example.org", "Theirs")
        assert world.open_conflicts() == {"city": ("Ours", "Theirs")}

    def test_records_that_match_and_differ_are_for_review_where_both_have_a_value(self, world: World) -> None:
        there = world.vendor.seed("people", name="Theirs", email="p@example.org", city="There")
        mine = User.objects.create(username="u", first_name="Ours", email="p@example.org")
        sync = world.pulling("two_way")

        settle(world, sync)

        assert ours(mine) == ("Ours", "p@example.org", "There")
        assert theirs(world, there) == ("Theirs", "p@example.org", "There")
        assert world.open_conflicts() == {"name": ("Ours", "Theirs")}

    def test_a_write_without_an_answer_is_no_conflict(self, world: World) -> None:
        from pushing.vendor import lost_answer

        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.faults = [lost_answer] * 3

        world.run(sync)
        settle(world, sync)

        assert theirs(world, ids[0])[2] == "Ours"
        assert Conflict.objects.count() == 0
        assert world.states() == {"delivered": 2}

    def test_deleted_here_it_is_archived_there_and_the_other_way_round(self, world: World) -> None:
        sync, ids, users = both(world, 6, mode="mirror", delete_policy="archive")
        users[0].delete()
        world.vendor.archive(ids[1])

        settle(world, sync)

        assert len(world.vendor.live()) == 4
        assert len(world.here()) == 4
        assert world.vendor.tables["people"][ids[0]].deleted

    def test_teams_are_joined_and_left_on_both_sides(self, world: World) -> None:
        groups = [Group.objects.create(name=name) for name in ("Red", "Blue")]
        world.run(world.teams())
        red, blue = (Link.objects.get(dataset="test.team", local_key=str(g.pk)).remote_id for g in groups)
        sync, ids, users = both(world, 2, teams=True)
        users[0].groups.add(groups[0])
        world.vendor.join(ids[1], str(blue))

        settle(world, sync)

        assert world.vendor.tables["people"][ids[0]].associated == {red}
        assert [g.name for g in users[1].groups.all()] == ["Blue"]

    def test_an_event_about_our_own_write_changes_nothing(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Moved")
        world.run(sync)
        pushed, written = len(world.vendor.pushes), len(WrittenPeople.writes)

        pull_ids(world.connection.pk, "people", ids)
        execute.work(20)

        assert (len(world.vendor.pushes), len(WrittenPeople.writes)) == (pushed, written)
        assert counts(Run.objects.latest("pk")) == {"unchanged": 2}


@database
@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_edits_comes_to_rest_and_loses_nothing(world: World, seed: int) -> None:
    """Whatever is edited where and when between runs: both sides are the same afterwards, but for what is under review."""
    dice = random.Random(seed)
    sync, ids, users = both(world, 12)
    for _ in range(6):
        for index in range(12):
            if dice.random() < 0.4:
                name, column = dice.choice([("name", "first_name"), ("city", "last_name")])
                edit(users[index], **{column: f"ours {dice.random():.6f}"})
            if dice.random() < 0.4:
                world.vendor.edit(ids[index], **{dice.choice(["name", "city"]): f"theirs {dice.random():.6f}"})
        world.run(sync, dice.choice([Run.Kind.FULL, Run.Kind.CHANGES]))

    settle(world, sync)

    clashing = {(c.link.local_key, c.property): (c.here, c.there) for c in Conflict.objects.filter(decided_at=None)}
    for id_, user in zip(ids, users, strict=True):
        for position, name in enumerate(("name", "email", "city")):
            mine, other = ours(user)[position], theirs(world, id_)[position]
            if mine != other:
                assert clashing.pop((str(user.pk), name)) == (mine, other)
    assert clashing == {}
    assert world.vendor.sent(Op.CREATE, Op.UPSERT) == {}
