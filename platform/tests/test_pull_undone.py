"""What a pull was to fetch and did not: it is kept, and fetched by the next run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.contract import AuthError, UnsupportedFeature
from syncline.ledger.models import Link
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import asking, steps, window
from syncline.runs.pull.start import pull_ids
from syncline.runs.start import cancel, start_run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World, WrittenPeople  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State


def seed(world: World, number: int) -> list[str]:
    return [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Here") for n in range(number)]


class TestToldRecords:
    """Those an event told of: nobody tells again."""

    def test_a_cancelled_run_leaves_them_to_the_next_one(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], city="Told")
        window.set_position(sync, window.now())
        pull_ids(world.connection.pk, "people", [ids[0]])

        cancel(Run.objects.latest("pk"))
        assert world.arrivals() == {ids[0]: ("pending", "not_fetched")}
        run = world.changes(sync)

        assert world.here()["Name 0"][1] == "Told"
        assert world.arrivals() == {}
        assert run.state == Run.State.SUCCEEDED

    def test_a_run_that_failed_does_so_from_where_it_stood(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        monkeypatch.setattr(steps, "FETCHED", 1)

        def refused(some: Any) -> bool:
            if some == [ids[1]]:
                raise AuthError
            return False

        world.vendor.refuses = refused
        pull_ids(world.connection.pk, "people", ids)
        execute.work(20)

        assert Run.objects.latest("pk").state == Run.State.FAILED
        assert set(world.here()) == {"Name 0"}
        assert set(world.arrivals()) == set(ids[1:])
        assert sync.arrivals.filter(last_run_id=Run.objects.latest("pk").pk).count() == 2

    def test_what_a_person_asked_for_is_not_repeated(self, world: World) -> None:
        ids = seed(world, 1)
        sync = world.pulling()
        pull_ids(world.connection.pk, "people", ids)
        RunPart.objects.update(priority=RunPart.Priority.INTERACTIVE)

        cancel(Run.objects.latest("pk"))

        assert not sync.arrivals.exists()

    def test_a_reason_that_is_known_already_stays(self, world: World) -> None:
        [one] = seed(world, 1)
        world.vendor.edit(one, name="broken")
        WrittenPeople.poisoned = {"broken"}
        sync = world.pulling()
        world.run(sync)
        start_run(sync, kind=Run.Kind.RETRY)

        cancel(Run.objects.latest("pk"))

        assert world.arrivals() == {one: ("rejected", "other")}


def test_a_sync_that_cannot_run_keeps_no_record_from_another(world: World) -> None:
    ids = seed(world, 1)
    broken = world.pulling()
    Sync.objects.filter(pk=broken.pk).update(name="broken", dataset="gone.person")
    world.pulling()

    assert pull_ids(world.connection.pk, "people", ids) == 2
    execute.work(20)

    assert set(world.here()) == {"Name 0"}
    assert [a.remote_id for a in broken.arrivals.all()] == ids


def test_what_was_put_off_too_often_is_fetched_by_the_next_pull_of_changes(world: World) -> None:
    ids = seed(world, 2)
    sync = world.pulling()
    world.run(sync)
    Link.objects.filter(remote_id=ids[0]).update(state=State.UNCERTAIN, uncertain_op="update")
    world.vendor.edit(ids[0], city="Theirs")
    world.changes(sync)
    Link.objects.filter(remote_id=ids[0]).update(state=State.DELIVERED, uncertain_op="")
    window.set_position(sync, window.now())

    run = world.changes(sync)

    assert world.here()["Name 0"][1] == "Theirs"
    assert run.state == Run.State.SUCCEEDED


def test_a_whole_listing_whose_later_part_was_cancelled_is_listed_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of ours that may be the same are decided about after the listing: until then they have not arrived."""
    User.objects.create(username="a", first_name="Ours", last_name="Old", email="p0@example.org")
    seed(world, 2)
    sync = world.pulling()
    with monkeypatch.context() as broken:
        broken.setattr(asking, "_fetch", _refuse)
        assert world.run(sync).state == Run.State.FAILED

    world.changes(sync)

    assert world.here()["Name 0"][1] == "Here"
    assert len(world.here()) == 2


def _refuse(*_: Any) -> Any:
    raise UnsupportedFeature("no")


def test_a_refused_record_that_is_gone_there_is_forgotten_by_a_whole_listing(world: World) -> None:
    ids = seed(world, 2)
    world.vendor.edit(ids[0], name="broken")
    WrittenPeople.poisoned = {"broken"}
    sync = world.pulling()
    world.run(sync)
    world.vendor.archive(ids[0])

    run = world.run(sync)

    assert world.arrivals() == {}
    assert run.state == Run.State.SUCCEEDED


def test_problems_of_both_sides_are_tried_again_by_one_run(world: World) -> None:
    """The push of a two-way sync follows its pull, also where only chosen records are pulled."""
    [theirs] = seed(world, 1)
    world.vendor.edit(theirs, name="broken")
    WrittenPeople.poisoned = {"broken"}
    sync = world.pulling("two_way")
    world.run(sync)
    WrittenPeople.poisoned = set()
    User.objects.create(username="b", first_name="Ours", email="ours@example.org")

    run = world.run(sync, Run.Kind.RETRY)

    assert (run.state, run.created) == (Run.State.SUCCEEDED, 2)
    assert {record.properties["name"] for record in world.vendor.tables["people"].values()} == {"broken", "Ours"}
