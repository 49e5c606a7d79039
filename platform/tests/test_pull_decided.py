"""What people decide about pulls: records that found no place, deletions that were withheld, conflicts by the dozen."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from syncline.contract import ConfigError
from syncline.ledger import resolve
from syncline.ledger.models import Entry, Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import execute, removals
from syncline.runs.models import PlanRow, Run, RunPart
from syncline.runs.outcome import next_step
from syncline.runs.pull import decide, placing
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World  # noqa: E402
from pushing.lab import counts  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


def shared(world: World, direction: str = "pull") -> tuple[Sync, Arrival, list[User]]:
    """A record there that has its e-mail address in common with two of ours."""
    users = [User.objects.create(username=f"u{n}", first_name=f"Ours {n}", email="same@example.org") for n in range(2)]
    world.vendor.seed("people", name="Theirs", email="same@example.org", city="There")
    sync = world.pulling(direction)
    world.run(sync)
    return sync, Arrival.objects.select_related("sync__connection").get(), users


def finished(run: Run) -> Run:
    for _ in range(50):
        execute.work(20, run.pk)
        run.refresh_from_db()
        if run.state not in Run.ACTIVE:
            return run
        time.sleep(0.05)
    pytest.fail("The run does not come to its end.")


class TestArrivals:
    def test_one_is_created_as_a_record_of_its_own(self, world: World) -> None:
        _, arrival, _ = shared(world)

        run = finished(placing.create([arrival], world.owner)[0])

        assert counts(run) == {"created": 1}
        assert run.requested_by == world.owner
        assert world.here()["Theirs"] == ("same@example.org", "There")
        assert world.arrivals() == {}

    @pytest.mark.parametrize("direction", ["pull", "two_way"])
    def test_one_is_linked_to_our_record_and_lands_there(self, world: World, direction: str) -> None:
        _, arrival, users = shared(world, direction)

        finished(placing.link_to(arrival, f" {users[1].pk} ", world.owner))

        assert world.arrivals() == {}
        link = Link.objects.get(remote_id=arrival.remote_id)
        assert link.local_key == str(users[1].pk)
        assert Entry.objects.filter(link_id=link.pk, op="review", message__contains="Linked to").exists()
        users[1].refresh_from_db()
        if direction == "pull":
            assert (users[1].first_name, users[1].last_name, link.state) == ("Theirs", "There", "delivered")
        else:
            assert world.open_conflicts() == {"name": ("Ours 1", "Theirs")}

    def test_what_was_seen_of_another_remote_record_says_nothing_of_this_one(self, world: World) -> None:
        world.vendor.seed("people", name="Name", email="p@example.org", city="Same")
        sync = world.pulling("two_way")
        world.run(sync)
        User.objects.filter(first_name="Name").update(last_name="Ours")
        other = world.vendor.seed("people", name="Name", email="other@example.org", city="Same")

        resolve.link_by_hand(Link.objects.get(), other, "somebody")
        world.run(sync)

        assert world.open_conflicts()["city"] == ("Ours", "Same")

    def test_a_key_of_nobody_or_of_a_linked_record_is_refused(self, world: World) -> None:
        _, arrival, users = shared(world)
        for wrong in ("", "999999", "none"):
            with pytest.raises(ConfigError, match="has no record"):
                placing.link_to(arrival, wrong, world.owner)
        Link.objects.create(
            connection=world.connection,
            object_type="people",
            dataset="test.person",
            local_key=str(users[0].pk),
            remote_id="other",
            state=Link.State.DELIVERED,
        )
        with pytest.raises(ConfigError, match="linked to remote record other already"):
            placing.link_to(arrival, str(users[0].pk), world.owner)
        assert Link.objects.count() == 1
        assert not Run.objects.filter(kind=Run.Kind.KEYS).exists()

    def test_what_was_corrected_here_is_tried_again_at_once(self, world: World) -> None:
        _, arrival, users = shared(world)
        users[0].delete()

        run = finished(placing.try_again([arrival], world.owner)[0])

        assert counts(run) == {"adopted": 1}
        assert run.parts.get().priority == RunPart.Priority.INTERACTIVE
        assert world.arrivals() == {}

    def test_a_record_whose_counterpart_here_has_gone_is_taken_in_anew(self, world: World) -> None:
        remote = world.vendor.seed("people", name="Theirs", email="p@example.org", city="There")
        sync = world.pulling()
        world.run(sync)
        User.objects.filter(first_name="Theirs").delete()
        world.vendor.edit(remote, city="Moved")
        world.run(sync)
        arrival = Arrival.objects.select_related("sync__connection").get()
        assert arrival.code == "gone_here"

        finished(placing.renew(arrival, world.owner))

        assert world.here() == {"Theirs": ("p@example.org", "Moved")}
        assert world.arrivals() == {}

    def test_only_what_is_in_doubt_is_created_or_linked(self, world: World) -> None:
        world.vendor.seed("people", name="refused", email="p@example.org")
        world.run(world.pulling())
        arrival = Arrival.objects.select_related("sync__connection").get()

        with pytest.raises(ConfigError, match="cannot be created"):
            placing.create([arrival], world.owner)
        with pytest.raises(ConfigError, match="cannot be linked"):
            placing.link_to(arrival, str(world.owner.pk), world.owner)
        with pytest.raises(ConfigError, match="not known to have gone"):
            placing.renew(arrival, world.owner)

    def test_it_takes_the_permission_and_the_right_to_run(self, world: World) -> None:
        _, arrival, users = shared(world)
        stranger = User.objects.create_user("stranger")
        stranger.user_permissions.add(Permission.objects.get(codename="resolve_arrival"))
        for what in (
            lambda: placing.create([arrival], stranger),
            lambda: placing.try_again([arrival], stranger),
            lambda: placing.link_to(arrival, str(users[0].pk), stranger),
            lambda: placing.renew(arrival, stranger),
        ):
            with pytest.raises(ConfigError, match="You may not decide what becomes"):
                what()
        arrival.refresh_from_db()
        assert not arrival.create

    def test_the_group_of_a_run_tells_what_to_do_about_arrivals(self, world: World) -> None:
        sync, arrival, _ = shared(world)
        first = Run.objects.latest("pk")
        later = world.changes(sync)
        for run in (first, later):
            group = world.groups(run)["shared_here"]
            assert (group.is_pulled(), group.samples) == (True, [arrival.remote_id])
            assert group.next_step == next_step("shared_here", pulled=True) != next_step("shared_here")


class TestWithheld:
    @pytest.fixture
    def held(self, world: World) -> tuple[Sync, Run, list[str]]:
        """A run that deleted nothing here although forty records are gone there."""
        ids = [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org") for n in range(50)]
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        for id_ in ids[:40]:
            world.vendor.archive(id_)
        return sync, world.run(sync), ids

    def test_approval_deletes_here_only_what_is_still_gone_there(self, world: World, held: tuple[Sync, Run, list[str]]) -> None:
        _, run, ids = held
        assert (run.withheld, removals.withheld(run), len(world.here())) == (40, 40, 50)
        world.vendor.restore(ids[0])
        world.vendor.edit(ids[0], name="Back")

        started = finished(removals.approve(run, world.owner))

        assert (started.kind, started.approved_by, started.removed) == (Run.Kind.REMOVAL, world.owner, 39)
        assert len(world.here()) == 11
        assert "Back" in world.here()
        states = list(PlanRow.objects.filter(run=run).order_by("id").values_list("state", flat=True))
        assert sorted(states) == ["applied"] * 39 + ["stale"]
        assert PlanRow.objects.get(run=run, remote_id=ids[0]).state == "stale"
        with pytest.raises(ConfigError, match="withholds no removals"):
            removals.approve(run, world.owner)

    def test_what_the_app_keeps_is_told(
        self, world: World, held: tuple[Sync, Run, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pulling.world import WrittenPeople
        from syncline.contract import Op, RecordRejected

        write = WrittenPeople._one

        def keeps(self: WrittenPeople, change: object) -> object:
            if change.op is Op.DELETE and change.local_key == kept:  # type: ignore[attr-defined]
                raise RecordRejected("It has invoices.", change.token)  # type: ignore[attr-defined]
            return write(self, change)  # type: ignore[arg-type]

        _, run, ids = held
        kept = Link.objects.get(remote_id=ids[3]).local_key
        monkeypatch.setattr(WrittenPeople, "_one", keeps)

        started = finished(removals.approve(run, world.owner))

        row = PlanRow.objects.get(run=run, remote_id=ids[3])
        assert (row.state, started.removed) == ("failed", 39)
        assert "It has invoices." in row.reason

    def test_a_killed_approval_goes_on_where_it_stood(
        self, world: World, held: tuple[Sync, Run, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from syncline.runs.pull import arriving, steps

        monkeypatch.setattr(steps, "FETCHED", 10)
        _, run, _ = held
        started = removals.approve(run, world.owner)
        land, calls = arriving.land, list[int]()

        def broken(*args: object, **kwargs: object) -> object:
            calls.append(1)
            if len(calls) == 3:
                raise ConnectionError("cut")
            return land(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(arriving, "land", broken)
        finished(started)

        assert started.removed == 40
        assert set(PlanRow.objects.filter(run=run).values_list("state", flat=True)) == {"applied"}


class TestManyConflicts:
    @pytest.mark.parametrize("side", ["here", "there"])
    def test_they_are_decided_at_once_by_one_part(self, world: World, side: str) -> None:
        ids = [world.vendor.seed("people", name=f"N{n}", email=f"p{n}@example.org", city="City") for n in range(5)]
        sync = world.pulling("two_way")
        world.run(sync)
        User.objects.filter(is_staff=False).update(last_name="Ours")
        for id_ in ids:
            world.vendor.edit(id_, city="Theirs")
        world.run(sync)

        assert decide.decide_all(Conflict.objects.filter(decided_at=None), side, world.owner) == 5
        run = Run.objects.latest("pk")
        assert run.parts.count() == 1
        finished(run)

        wanted = {"here": "Ours", "there": "Theirs"}[side]
        assert {city for _, city in world.here().values()} == {wanted}
        assert {held.properties["city"] for held in world.vendor.tables["people"].values()} == {wanted}
        assert decide.decide_all(Conflict.objects.all(), side, world.owner) == 0
