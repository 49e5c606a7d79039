"""A connector that lists and cannot be asked for single records: what is missing, put off or told of is listed once more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from syncline.contract import Page
from syncline.ledger.models import Link
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import asking, noting, window
from syncline.runs.pull.start import pull_records

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.02)
    monkeypatch.setattr(noting, "PAUSE", 0.02)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account, without=getattr(request, "param", ["fetch"])):
        yield World(account)


def seed(world: World, number: int) -> list[str]:
    return [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Here") for n in range(number)]


def forgetful(world: World, lost: str, listings: int) -> None:
    """So many listings leave a record out that is there all the same."""
    left = [listings]

    def bend(pages: list[Page]) -> list[Page]:
        if left[0] <= 0:
            return pages
        left[0] -= 1
        return [Page([r for r in page.records if r.id != lost], page.position, page.total) for page in pages]

    world.vendor.bend = bend


def states() -> dict[str, str]:
    return {str(id_): state for id_, state in Link.objects.values_list("remote_id", "state")}


class TestWhatIsMissing:
    def test_it_is_gone_when_a_second_listing_lacks_it_too(self, world: World) -> None:
        ids = seed(world, 25)
        sync = world.pulling()
        world.run(sync)
        world.vendor.archive(ids[3])
        before = world.vendor.pulls

        run = world.run(sync)

        assert run.gone == 1
        assert states() == {**dict.fromkeys(ids, "delivered"), ids[3]: "gone"}
        assert world.vendor.pulls - before == 2
        assert world.run(sync).gone == 0

    def test_what_one_listing_left_out_stays(self, world: World) -> None:
        ids = seed(world, 12)
        sync = world.pulling()
        world.run(sync)
        forgetful(world, ids[5], 1)

        run = world.run(sync)

        assert run.state == Run.State.SUCCEEDED, run.reason
        assert set(states().values()) == {"delivered"}

    def test_of_ours_none_is_deleted_past_the_guard(self, world: World) -> None:
        ids = seed(world, 40)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        for id_ in ids[:30]:
            world.vendor.archive(id_)
        world.vendor.tables["people"] = {id_: held for id_, held in world.vendor.tables["people"].items() if not held.deleted}

        run = world.run(sync)

        assert (run.withheld, run.removed) == (30, 0)
        assert User.objects.filter(is_staff=False).count() == 40

    def test_a_lot_of_ids_is_looked_for_in_one_listing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asking, "LISTED", 8)
        seed(world, 20)
        sync = world.pulling()
        world.run(sync)
        world.vendor.tables["people"].clear()
        one = world.vendor.seed("people", name="New", email="new@example.org", city="Here")
        before = world.vendor.pulls

        run = world.run(sync)

        assert run.gone == 20
        assert states()[one] == "delivered"
        assert world.vendor.pulls - before == 1 + 3


class TestWhatIsAskedFor:
    def test_records_that_an_event_told_of_arrive_and_gone_ones_are_gone(self, world: World) -> None:
        ids = seed(world, 25)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[20], city="Moved")
        world.vendor.edit(ids[21], city="Unasked")
        world.vendor.archive(ids[1])

        pull_records(sync, [ids[1], ids[20]])
        execute.work(20)

        assert (world.here()["Name 20"][1], world.here()["Name 21"][1]) == ("Moved", "Here")
        assert states()[ids[1]] == "gone"

    @pytest.mark.parametrize("world", [["fetch"], []], ids=["listed", "fetched"], indirect=True)
    def test_records_that_were_merged_leave_their_survivor_one_link(self, world: World) -> None:
        """It names them itself, and answers for them."""
        ids = seed(world, 4)
        sync = world.pulling()
        world.run(sync)
        survivor = world.vendor.merge("people", *ids[:2])

        pull_records(sync, ids[:2])
        execute.work(20)

        assert sorted(states()[id_] for id_ in (survivor, *ids[:2]) if id_ in states()) == ["delivered", "merged"]

    def test_a_record_put_off_comes_back(self, world: World) -> None:
        """A write of ours to it was on its way when it was listed."""
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        Link.objects.filter(remote_id=ids[0]).update(state="uncertain")
        world.vendor.edit(ids[0], city="Moved")

        def bend(pages: list[Page]) -> list[Page]:
            if world.vendor.pulls > before + 1:
                Link.objects.filter(remote_id=ids[0]).update(state="delivered")
            return pages

        before = world.vendor.pulls
        world.vendor.bend = bend
        run = world.changes(sync)

        assert run.parts.filter(kind=RunPart.Kind.FETCH, state=RunPart.State.DONE).exists()
        assert world.here()["Name 0"][1] == "Moved"
        assert run.state == Run.State.SUCCEEDED, run.reason
