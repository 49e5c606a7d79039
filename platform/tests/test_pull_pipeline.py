"""Pulls from end to end over a vendor in memory: what is there arrives once, wherever it breaks off and however pages come."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from syncline.connections.models import Installation
from syncline.contract import Page, RemoteRecord
from syncline.ledger.models import Entry, Link
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.runs.pull import window
from syncline.runs.pull.start import pull_ids

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World, WrittenPeople  # noqa: E402
from pushing.lab import counts  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State


def seed(world: World, number: int, start: int = 0) -> list[str]:
    return [
        world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city=f"City {n}")
        for n in range(start, start + number)
    ]


class TestWhole:
    def test_everything_arrives_once_and_the_second_run_writes_nothing(self, world: World) -> None:
        seed(world, 35)
        sync = world.pulling()

        first, second = world.run(sync), world.run(sync)

        assert counts(first) == {"created": 35}
        assert first.state == Run.State.SUCCEEDED
        assert world.here() == {f"Name {n}": (f"p{n}@example.org", f"City {n}") for n in range(35)}
        assert counts(second) == {"unchanged": 35}
        assert Entry.objects.count() == 35
        assert sum(WrittenPeople.writes) == 35

    def test_what_changed_there_is_changed_here(self, world: World) -> None:
        ids = seed(world, 12)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[3], city="Elsewhere")
        world.vendor.edit(ids[4], name="Other", email=None)

        run = world.run(sync)

        assert counts(run) == {"updated": 2, "unchanged": 10}
        assert world.here()["Name 3"] == ("p3@example.org", "Elsewhere")
        assert world.here()["Other"] == ("", "City 4")

    def test_records_of_ours_are_found_and_linked_instead_of_doubled(self, world: World) -> None:
        ids = seed(world, 3)
        mine = User.objects.create(username="u1", first_name="Mine", email="P1@example.org")
        sync = world.pulling()

        run = world.run(sync)

        assert counts(run) == {"created": 2, "adopted": 1}
        assert world.linked()[ids[1]] == str(mine.pk)
        mine.refresh_from_db()
        assert mine.first_name == "Name 1"
        assert User.objects.filter(is_staff=False).count() == 3

    def test_what_could_be_two_things_is_never_guessed(self, world: World) -> None:
        """Two of theirs for one of ours; two of ours for one of theirs; one of theirs like one that is linked already."""
        twice = [world.vendor.seed("people", name=f"Twin {n}", email="twin@example.org") for n in (1, 2)]
        once = world.vendor.seed("people", name="Once", email="both@example.org")
        for number, email in enumerate(["twin@example.org", "both@example.org", "both@example.org"]):
            User.objects.create(username=f"u{number}", first_name=f"Ours {number}", email=email)
        sync = world.pulling()

        run = world.run(sync)
        third = world.vendor.seed("people", name="New", email="new@example.org")
        world.run(sync)
        fourth = world.vendor.seed("people", name="Newer", email="new@example.org")
        last = world.changes(sync)

        assert counts(run) == {"ambiguous": 3}
        assert run.state == Run.State.PROBLEMS
        assert world.linked().keys() == {third}
        assert world.arrivals() == {
            twice[0]: ("ambiguous", "several_remote"),
            twice[1]: ("ambiguous", "several_remote"),
            once: ("ambiguous", "shared_here"),
            fourth: ("ambiguous", "linked_to_other"),
        }
        assert counts(last) == {"ambiguous": 1}
        assert "4 from there for review" in last.reason

    def test_in_a_listing_the_first_of_several_alike_is_taken_in_and_the_others_are_for_review(self, world: World) -> None:
        first, second, third = (world.vendor.seed("people", name=f"Twin {n}", email="twin@example.org") for n in range(3))
        sync = world.pulling()

        run, again = world.run(sync), world.run(sync)

        assert counts(run) == {"created": 1, "ambiguous": 2}
        assert world.linked().keys() == {first}
        assert world.arrivals().keys() == {second, third}
        assert {state for state, _ in world.arrivals().values()} == {"ambiguous"}
        assert counts(again) == {"unchanged": 1, "ambiguous": 2}

    def test_a_record_that_bears_our_key_is_ours_again(self, world: World) -> None:
        mine = User.objects.create(username="u1", first_name="Mine", email="other@example.org")
        sync = world.pulling()
        key = f"{Installation.current_id()}:test.person:{mine.pk}"
        there = world.vendor.seed("people", name="Theirs", email="theirs@example.org", own_key=key)

        world.run(sync)

        assert world.linked() == {there: str(mine.pk)}


class TestChanges:
    def test_only_what_changed_since_is_asked_for(self, world: World) -> None:
        ids = seed(world, 12)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], city="Moved")
        seed(world, 1, start=50)

        run = world.changes(sync)

        assert counts(run) == {"created": 1, "updated": 1}
        since = world.vendor.requests[-1].since
        assert since is not None
        assert world.checkpoint(sync).seen_until is not None

    def test_without_a_first_listing_everything_is_asked_for(self, world: World) -> None:
        seed(world, 3)
        sync = world.pulling()

        assert counts(world.changes(sync)) == {"created": 3}
        assert world.vendor.requests[0].since is None

    def test_what_was_archived_there_stays_here_and_is_said_once(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        world.vendor.archive(ids[1])

        run, again = world.changes(sync), world.changes(sync)

        assert (run.gone, again.gone) == (1, 0)
        assert run.state == Run.State.SUCCEEDED
        assert Link.objects.get(remote_id=ids[1]).state == State.GONE
        assert len(world.here()) == 3

    def test_what_was_restored_there_goes_on(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        world.vendor.archive(ids[1])
        world.changes(sync)
        world.vendor.restore(ids[1])
        world.vendor.edit(ids[1], city="Back")

        world.changes(sync)

        assert Link.objects.get(remote_id=ids[1]).state == State.DELIVERED
        assert world.here()["Name 1"][1] == "Back"

    def test_just_these_records(self, world: World) -> None:
        ids = seed(world, 5)
        world.pulling()

        assert pull_ids(world.connection.pk, "people", [ids[2], ids[4], "r-nowhere"]) == 1
        run = Run.objects.get()
        execute.work(20, run.pk)

        run.refresh_from_db()
        assert set(world.here()) == {"Name 2", "Name 4"}
        assert run.state == Run.State.SUCCEEDED

    def test_a_record_to_which_a_write_of_ours_is_on_its_way_waits_for_the_answer(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        Link.objects.filter(remote_id=ids[0]).update(state=State.UNCERTAIN, uncertain_op="update")
        world.vendor.edit(ids[0], city="Theirs")

        run = world.changes(sync)

        assert world.here()["Name 0"][1] == "City 0"
        assert "1 put off until the next run" in run.reason
        Link.objects.filter(remote_id=ids[0]).update(state=State.DELIVERED, uncertain_op="")
        world.run(sync)
        assert world.here()["Name 0"][1] == "Theirs"

    def test_records_merged_there_keep_one_of_ours(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        before = world.linked()
        survivor = world.vendor.merge("people", ids[0], ids[1])
        world.vendor.edit(survivor, name="Merged")

        run = world.changes(sync)

        links = {link.local_key: link for link in Link.objects.all()}
        assert links[before[ids[0]]].remote_id == survivor
        assert links[before[ids[1]]].state == State.MERGED
        assert run.gone == 1
        assert len(world.here()) == 3
        assert "Merged" in world.here()


class TestMirror:
    def test_what_is_gone_there_goes_here(self, world: World) -> None:
        ids = seed(world, 5)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        world.vendor.archive(ids[1])

        run = world.changes(sync)

        assert run.removed == 1
        assert set(world.here()) == {"Name 0", "Name 2", "Name 3", "Name 4"}

    def test_a_whole_listing_finds_what_no_one_told(self, world: World) -> None:
        ids = seed(world, 5)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        world.vendor.delete("people", ids[2])

        run = world.run(sync)

        assert run.removed == 1
        assert "Name 2" not in world.here()

    def test_too_many_wait_for_a_person(self, world: World, settings: object) -> None:
        settings.SYNCLINE_REMOVALS_COUNT = 2  # type: ignore[attr-defined]
        settings.SYNCLINE_REMOVALS_SHARE = 0.1  # type: ignore[attr-defined]
        ids = seed(world, 10)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        for id_ in ids[:4]:
            world.vendor.archive(id_)

        run = world.run(sync)

        assert (run.removed, run.withheld) == (0, 4)
        assert len(world.here()) == 10
        assert run.state == Run.State.PROBLEMS
        assert "withheld" in run.reason

    def test_an_empty_listing_takes_nothing_away(self, world: World) -> None:
        seed(world, 3)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        hidden = dict(world.vendor.tables["people"])
        world.vendor.tables["people"].clear()

        run = world.run(sync)
        world.vendor.tables["people"].update(hidden)

        assert run.removed == run.gone == 0
        assert len(world.here()) == 3
        assert run.state == Run.State.PROBLEMS
        assert "listed no People at all" in run.reason
        assert counts(world.run(sync)) == {"unchanged": 3}


class TestRefusals:
    def test_what_cannot_be_stored_is_kept_with_its_reason_and_the_rest_goes_on(self, world: World) -> None:
        ids = seed(world, 6)
        for id_, name in zip(ids, ("refused", "long", "broken", None), strict=False):
            world.vendor.edit(id_, name=name)
        WrittenPeople.poisoned = {"broken"}
        sync = world.pulling()

        run = world.run(sync)

        assert counts(run) == {"created": 2, "rejected": 4}
        assert world.arrivals() == {
            ids[0]: ("rejected", "invalid_value"),
            ids[1]: ("rejected", "too_long"),
            ids[2]: ("rejected", "other"),
            ids[3]: ("rejected", "required"),
        }
        assert run.state == Run.State.PROBLEMS
        assert "4 from there rejected here" in run.reason

    def test_it_is_tried_again_when_it_changes_or_somebody_asks_and_every_run_says_so(self, world: World) -> None:
        ids = seed(world, 3)
        for id_ in ids[:2]:
            world.vendor.edit(id_, name="broken")
        WrittenPeople.poisoned = {"broken"}
        sync = world.pulling()
        world.run(sync)

        quiet = world.changes(sync)
        world.vendor.edit(ids[0], name="Mended")
        mended = world.changes(sync)
        WrittenPeople.poisoned = set()
        asked = world.run(sync, Run.Kind.RETRY)

        assert "2 from there rejected here" in quiet.reason
        assert mended.created == 1
        assert asked.created == 1
        assert asked.state == Run.State.SUCCEEDED
        assert world.arrivals() == {}

    def test_our_record_that_is_gone_is_not_made_again(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        User.objects.get(pk=world.linked()[ids[0]]).delete()
        world.vendor.edit(ids[0], city="Elsewhere")

        run = world.changes(sync)

        assert len(world.here()) == 1
        assert world.arrivals() == {ids[0]: ("excluded", "gone_here")}
        assert run.state == Run.State.PROBLEMS


class TestAssociations:
    def test_they_lead_to_records_of_ours_and_wait_for_those_that_are_not_here_yet(self, world: World) -> None:
        red, blue = (world.vendor.seed("teams", name=name) for name in ("Red", "Blue"))
        [one] = seed(world, 1)
        world.vendor.join(one, red, blue)
        teams = world.teams()
        group = Group.objects.create(name="Red")
        world.run(teams)
        sync = world.pulling(teams=True)

        run = world.run(sync)
        user = User.objects.get(first_name="Name 0")
        waiting = world.arrivals()
        other = Group.objects.create(name="Blue")
        world.run(teams)
        later = world.changes(sync)

        assert run.waiting == 1
        assert waiting == {one: ("waiting", "waiting")}
        assert "1 from there waiting" in run.reason
        assert {g.pk for g in user.groups.all()} == {group.pk, other.pk}
        assert later.state == Run.State.SUCCEEDED
        assert world.arrivals() == {}

    def test_what_was_given_up_there_goes_and_what_is_only_here_stays(self, world: World) -> None:
        groups = [Group.objects.create(name=name) for name in ("Red", "Blue", "Ours")]
        ids = [world.vendor.seed("teams", name=group.name) for group in groups[:2]]
        world.run(world.teams())
        [one] = seed(world, 1)
        world.vendor.join(one, *ids)
        sync = world.pulling(teams=True)
        world.run(sync)
        user = User.objects.get(first_name="Name 0")
        user.groups.add(groups[2])
        world.vendor.join(one, ids[1])

        world.changes(sync)

        assert {g.name for g in user.groups.all()} == {"Blue", "Ours"}


class TestPages:
    def test_repeated_and_empty_pages_do_no_harm(self, world: World) -> None:
        seed(world, 25)
        world.vendor.bend = lambda pages: [
            Page([], "10"),
            *[replace(page, position=f"{n}0") for n, page in enumerate(pages[:1] * 2 + pages[1:-1], 2)],
            pages[-1],
        ]
        sync = world.pulling()

        run = world.run(sync)

        assert run.created == 25
        assert len(world.here()) == 25

    def test_a_listing_that_goes_round_in_circles_ends_the_run(self, world: World) -> None:
        seed(world, 25)
        world.vendor.bend = lambda pages: [*pages[:-1], replace(pages[-1], position="10")]
        sync = world.pulling()

        run = world.run(sync)

        assert run.state == Run.State.FAILED
        assert "came back to a page" in run.reason
        assert len(world.here()) == 25
        world.vendor.bend = lambda pages: pages
        assert world.run(sync).state == Run.State.SUCCEEDED

    def test_what_a_listing_skips_is_asked_for_before_it_counts_as_gone(self, world: World) -> None:
        ids = seed(world, 25)
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        world.vendor.bend = lambda pages: [pages[0], pages[2]]

        run = world.run(sync)

        assert run.removed == run.gone == 0
        assert set(world.vendor.fetched) == set(ids[10:20])
        assert len(world.here()) == 25

    def test_records_without_an_id_are_said(self, world: World) -> None:
        seed(world, 2)
        nameless = RemoteRecord("", {"name": "Nobody"})
        world.vendor.bend = lambda pages: [replace(pages[0], records=[*pages[0].records, nameless])]
        sync = world.pulling()

        run = world.run(sync)

        assert counts(run) == {"created": 2, "rejected": 1}
        assert "without an id" in run.reason


class TestPositions:
    def test_they_can_be_set_while_the_sync_rests(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

        window.set_position(sync, moment)
        run = world.changes(sync)

        assert counts(run) == {"unchanged": 3}
        assert world.vendor.requests[-2].since == moment
        assert ids

    def test_without_one_everything_is_listed_again(self, world: World) -> None:
        seed(world, 3)
        sync = world.pulling()
        world.run(sync)

        window.set_position(sync, None)
        world.changes(sync)

        assert world.vendor.requests[-1].since is None
