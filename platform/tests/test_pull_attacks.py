"""Pulls and two-way syncs in a hostile world: what could lose an update, make a duplicate, or keep a run from its end."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connections, transaction
from django.db.models import OuterRef, Subquery
from syncline.connections.models import Installation
from syncline.contract import Code, LocalChange, Page, Permanent, PullRequest, RecordError, RemoteRecord, Status, Written
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import claims, execute
from syncline.runs.models import Run
from syncline.runs.pull import noting
from syncline.runs.pull.decide import decide
from syncline.runs.pull.start import pull_ids
from syncline.runs.push import prepare as preparation
from syncline.runs.start import AlreadyRunning, cancel, push_keys
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.world import World, WrittenPeople  # noqa: E402
from pushing.lab import counts  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State


def seed(world: World, number: int) -> list[str]:
    return [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city=f"City {n}") for n in range(number)]


def both(world: World, number: int, **options: Any) -> tuple[Sync, list[str], list[User]]:
    """A two-way sync whose records are the same on both sides."""
    ids = seed(world, number)
    sync = world.pulling("two_way", **options)
    world.run(sync)
    linked = world.linked()
    return sync, ids, [User.objects.get(pk=linked[id_]) for id_ in ids]


def edit(user: User, **values: str) -> None:
    User.objects.filter(pk=user.pk).update(date_joined=dt.datetime.now(dt.UTC), **values)


def ours(user: User) -> tuple[str, ...]:
    user.refresh_from_db()
    return user.first_name, user.email, user.last_name


def teams(world: World, *names: str) -> tuple[list[Group], list[str]]:
    """Teams on both sides: ours and theirs."""
    groups = [Group.objects.create(name=name) for name in names]
    world.run(world.teams())
    return groups, [str(Link.objects.get(dataset="test.team", local_key=str(g.pk)).remote_id) for g in groups]


def theirs_city(world: World, id_: str) -> object:
    return world.vendor.tables["people"][id_].properties.get("city")


def _one_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """`teams` holds one team."""
    fields = tuple(replace(f, many=False) if f.name == "teams" else f for f in WrittenPeople.info.fields)
    monkeypatch.setattr(WrittenPeople, "info", replace(WrittenPeople.info, fields=fields))
    first = Subquery(User.groups.through.objects.filter(user_id=OuterRef("pk")).order_by("group_id").values("group_id")[:1])
    monkeypatch.setattr(WrittenPeople, "annotations", {**WrittenPeople.annotations, "teams": first})

    def one(self: WrittenPeople, user: User, values: Any) -> None:
        if "teams" in values:
            user.groups.set([int(values["teams"])] if values["teams"] else [])

    monkeypatch.setattr(WrittenPeople, "_teams", one)


def _link(world: World, user: User, remote_id: str) -> None:
    """As a push does it that adopts a record."""
    Link.objects.create(
        connection=world.connection,
        object_type="people",
        dataset="test.person",
        local_key=str(user.pk),
        remote_id=remote_id,
        state=State.DELIVERED,
        revision=2,
    )
    connections.close_all()


class TestRuns:
    def test_a_retry_of_both_ways_pushes_too(self, world: World) -> None:
        sync, ids, users = both(world, 3)
        world.vendor.edit(ids[0], name="refused")
        world.vendor.poison.add("Poisoned")
        edit(users[1], first_name="Poisoned")
        world.run(sync)
        world.vendor.poison.clear()

        run = world.run(sync, Run.Kind.RETRY)

        assert world.vendor.tables["people"][ids[1]].properties["name"] == "Poisoned"
        assert run.state == Run.State.PROBLEMS
        assert "Cancelled" not in run.reason

    def test_what_a_cancelled_run_was_to_fetch_is_fetched_by_the_next(self, world: World) -> None:
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], city="Elsewhere")
        pull_ids(world.connection.pk, "people", [ids[0]])
        cancel(Run.objects.latest("pk"))
        world.vendor.moments.at[ids[0]] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

        world.changes(sync)

        assert world.here()["Name 0"][1] == "Elsewhere"
        assert world.arrivals() == {}

    def test_what_was_put_off_to_the_end_of_a_run_is_fetched_by_the_next(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(noting, "MAX_ROUNDS", 2)
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        Link.objects.filter(remote_id=ids[0]).update(state=State.UNCERTAIN, uncertain_op="update")
        world.vendor.edit(ids[0], city="Elsewhere")
        run = world.changes(sync)
        Link.objects.filter(remote_id=ids[0]).update(state=State.DELIVERED, uncertain_op="")
        world.vendor.moments.at[ids[0]] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

        world.changes(sync)

        assert run.state == Run.State.PROBLEMS
        assert world.here()["Name 0"][1] == "Elsewhere"

    def test_one_that_goes_on_with_what_another_left_comes_to_the_present(self, world: World) -> None:
        ids = seed(world, 25)
        sync = world.pulling()
        world.run(sync)
        for id_ in ids:
            world.vendor.edit(id_, city="Moved")
        read = world.vendor.pages

        def broken(table: str, request: PullRequest) -> Iterator[Page]:
            yield next(read(table, request))
            raise Permanent("It is broken.")

        world.vendor.pages = broken  # type: ignore[method-assign]
        world.changes(sync)
        assert world.checkpoint(sync).position
        world.vendor.pages = read  # type: ignore[method-assign]
        new = world.vendor.seed("people", name="New", email="new@example.org")

        run = world.changes(sync)

        assert new in world.linked()
        assert {city for _, city in world.here().values()} == {"Moved", ""}
        assert run.state == Run.State.SUCCEEDED

    def test_a_sync_that_cannot_run_keeps_no_event_from_the_others(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        other = Sync.objects.create(
            name="other",
            connection=world.connection,
            dataset="test.person",
            object_type="people",
            direction="pull",
            created_by=world.owner,
            current=sync.current,
        )
        assert sync.current
        planning = Run.objects.create(sync=other, version=sync.current, kind=Run.Kind.PLAN)
        world.vendor.edit(ids[0], city="Elsewhere")

        taken = pull_ids(world.connection.pk, "people", [ids[0]])
        execute.work(20, Run.objects.filter(sync=sync).latest("pk").pk)

        assert taken == 2
        assert world.here()["Name 0"][1] == "Elsewhere"
        assert list(Arrival.objects.filter(sync=other).values_list("remote_id", "state")) == [(ids[0], "pending")]
        Sync.objects.filter(pk=sync.pk).update(enabled=False)
        with pytest.raises(AlreadyRunning):
            pull_ids(world.connection.pk, "people", [ids[0]])
        assert planning.parts.count() == 0


class TestStale:
    def test_a_page_read_before_our_write_was_answered_does_not_undo_it(self, world: World) -> None:
        """The page is read, then ours is pushed by another part, then the page is stored."""
        sync, ids, users = both(world, 2)
        world.vendor.edit(ids[0], name="Theirs")
        read = world.vendor.pages

        def slow(table: str, request: Any) -> Any:
            pages = list(read(table, request))
            world.vendor.pages = read  # type: ignore[method-assign]
            edit(users[0], last_name="Ours")
            push_keys(sync, [str(users[0].pk)])
            claim = claims.claim("other", urgent=True)
            assert claim
            execute.execute(claim)
            yield from pages

        world.vendor.pages = slow  # type: ignore[method-assign]
        world.changes(sync)

        assert ours(users[0])[2] == "Ours"
        assert ours(users[0])[0] == "Theirs"

    def test_a_page_read_before_a_newer_look_does_not_undo_it(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], city="Older")
        read = world.vendor.pages

        def slow(table: str, request: Any) -> Any:
            pages = list(read(table, request))
            world.vendor.pages = read  # type: ignore[method-assign]
            world.vendor.edit(ids[0], city="Newer")
            pull_ids(world.connection.pk, "people", [ids[0]])
            claim = claims.claim("other", urgent=True)
            assert claim
            execute.execute(claim)
            yield from pages

        world.vendor.pages = slow  # type: ignore[method-assign]
        world.changes(sync)

        assert world.here()["Name 0"][1] == "Newer"


class TestDrift:
    def test_a_property_that_is_not_there_any_more_clears_nothing_here(self, world: World) -> None:
        """It was taken out of the account since its definitions were asked for: its values are not in the answers."""
        ids = seed(world, 3)
        sync = world.pulling()
        world.run(sync)
        record = world.vendor.record

        def without(
            held: Any, names: Sequence[str], associations: Sequence[str] = (), history: Sequence[str] = ()
        ) -> RemoteRecord:
            found = record(held, names, associations, history)
            return replace(found, properties={n: v for n, v in found.properties.items() if n != "city"})

        world.vendor.record = without  # type: ignore[method-assign]
        world.vendor.edit(ids[0], name="Renamed")
        pull_ids(world.connection.pk, "people", [ids[0]])
        execute.work(20)
        world.run(sync)

        assert world.here()["Renamed"][1] == "City 0"
        assert world.here()["Name 1"][1] == "City 1"


class TestTogether:
    def test_a_lot_in_which_a_push_takes_a_record_over_is_tried_again(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its link is stored by somebody else between the look and the write."""
        ids = seed(world, 3)
        sync = world.pulling()
        mine = User.objects.create(username="u1", first_name="Mine", email="")
        write = WrittenPeople.write

        def meanwhile(self: WrittenPeople, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
            if not Link.objects.exists():
                thread = threading.Thread(target=_link, args=(world, mine, ids[1]))
                thread.start()
                thread.join()
            return write(self, changes, owner)

        monkeypatch.setattr(WrittenPeople, "write", meanwhile)

        run = world.run(sync)

        assert run.state == Run.State.SUCCEEDED
        assert world.linked()[ids[1]] == str(mine.pk)
        assert User.objects.filter(is_staff=False).count() == 3

    def test_ours_that_is_pushed_while_it_is_taken_over_keeps_its_record(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Found by its e-mail as not linked; linked to another remote record before the lot is stored."""
        (there,) = seed(world, 1)
        sync = world.pulling()
        mine = User.objects.create(username="u1", first_name="Mine", email="p0@example.org")
        write = WrittenPeople.write

        def meanwhile(self: WrittenPeople, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
            if not Link.objects.exists():
                thread = threading.Thread(target=_link, args=(world, mine, "r999"))
                thread.start()
                thread.join()
            return write(self, changes, owner)

        monkeypatch.setattr(WrittenPeople, "write", meanwhile)

        world.run(sync)

        assert world.linked() == {"r999": str(mine.pk)}
        assert world.arrivals()[there][0] == "ambiguous"

    def test_records_by_their_ids_beside_a_listing_leave_its_candidates_alone(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Our records cannot be found quickly, so that each part has a list of its own."""
        monkeypatch.setattr(WrittenPeople, "find", lambda self, field, values: None)
        ids = seed(world, 25)
        for number in range(25):
            User.objects.create(username=f"u{number}", first_name="Mine", email=f"p{number}@example.org")
        sync = world.pulling()
        read = world.vendor.pages

        def slow(table: str, request: Any) -> Any:
            pages = list(read(table, request))
            world.vendor.pages = read  # type: ignore[method-assign]
            pull_ids(world.connection.pk, "people", [ids[0]])
            claim = claims.claim("other", urgent=True)
            assert claim
            with monkeypatch.context() as broken:
                broken.setattr(preparation, "_copy_candidates", lambda *_: None)  # as seen in the middle of it
                execute.execute(claim)
            yield from pages

        world.vendor.pages = slow  # type: ignore[method-assign]

        world.run(sync)

        assert User.objects.filter(is_staff=False).count() <= 26

    def test_a_decision_waits_for_a_lot_and_not_for_ever(self, world: World) -> None:
        """Both want the link first."""
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], city="Theirs")
        world.run(sync)
        conflict = Conflict.objects.get()
        locked: list[str] = []

        def decided() -> None:
            try:
                decide(conflict, "here", world.owner)
                locked.append("decided")
            except DatabaseError as error:
                locked.append(type(error).__name__)
            finally:
                connections.close_all()

        with transaction.atomic():
            Link.objects.select_for_update().get(pk=conflict.link_id)
            thread = threading.Thread(target=decided)
            thread.start()
            time.sleep(0.5)
            Conflict.objects.filter(pk=conflict.pk).update(here="looked at")
        thread.join(10)

        assert locked == ["decided"]

    def test_a_conflict_ends_with_its_record(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.edit(ids[0], city="Theirs")
        world.run(sync)
        world.vendor.archive(ids[0])
        world.changes(sync)

        run = world.changes(sync)

        assert "conflict" not in run.reason

    def test_an_index_that_lags_does_not_undo_a_newer_look(self, world: World) -> None:
        """An event brought the record; the listing of what changed shows it as it was before."""
        world.vendor.lag = 5.0
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], city="Older")
        world.changes(sync)
        held = world.vendor.tables["people"][ids[0]]
        older = replace(held, properties={**held.properties, "city": "Old"}), world.vendor.moments.at[ids[0]]
        world.vendor.edit(ids[0], city="Newer")
        pull_ids(world.connection.pk, "people", [ids[0]])
        execute.work(20)
        read = world.vendor.listing

        def lagging(table: str, request: PullRequest) -> list[RemoteRecord]:
            shown = {one.id: one for one in read(table, request)}
            stale = world.vendor.record(older[0], request.properties)
            return [replace(stale, modified_at=older[1]) if id_ == ids[0] else one for id_, one in shown.items()]

        world.vendor.listing = lagging  # type: ignore[method-assign]
        world.changes(sync)

        assert world.here()["Name 0"][1] == "Newer"


class TestTwoWay:
    def test_a_value_of_ours_that_cannot_go_there_is_not_overwritten(self, world: World) -> None:
        sync, ids, users = both(world, 2)
        edit(users[0], first_name="A name of far too many characters")
        world.vendor.edit(ids[0], city="Moved")

        world.run(sync)
        world.run(sync)

        assert ours(users[0])[0] == "A name of far too many characters"
        assert ours(users[0])[2] == "Moved"

    def test_a_record_that_the_filter_leaves_out_is_not_overwritten(self, world: World) -> None:
        sync, ids, users = both(world, 2, filter="city != 'Private'")
        edit(users[0], last_name="Private", first_name="Mine")
        world.vendor.edit(ids[0], email="moved@example.org")

        world.run(sync)

        assert ours(users[0])[0] == "Mine"

    def test_ours_for_a_record_that_is_not_there_any_more_is_not_said_to_be_delivered(self, world: World) -> None:
        """It was deleted there, which no pull has seen yet."""
        sync, ids, users = both(world, 2)
        edit(users[0], last_name="Ours")
        world.vendor.archive(ids[0])

        run = push_keys(sync, [str(users[0].pk)])
        execute.work(20)
        run.refresh_from_db()

        assert Link.objects.get(remote_id=ids[0]).state == State.GONE
        assert counts(run) == {"gone": 1}

    def test_a_team_left_here_is_not_joined_again(self, world: World) -> None:
        (red,), (there,) = teams(world, "Red")
        sync, ids, users = both(world, 2, teams=True)
        world.vendor.join(ids[0], there)
        world.run(sync)
        assert list(users[0].groups.all()) == [red]
        users[0].groups.clear()
        world.vendor.edit(ids[0], city="Moved")

        world.run(sync)
        world.run(sync)

        assert list(users[0].groups.all()) == []
        assert world.vendor.tables["people"][ids[0]].associated == set()
        assert ours(users[0])[2] == "Moved"

    def test_a_team_joined_here_while_theirs_changed_is_pushed(self, world: World) -> None:
        (red,), (there,) = teams(world, "Red")
        sync, ids, users = both(world, 2, teams=True)
        users[0].groups.add(red)
        world.vendor.edit(ids[0], city="Moved")

        world.run(sync)

        assert world.vendor.tables["people"][ids[0]].associated == {there}

    def test_what_one_field_cannot_hold_is_not_taken_away_there(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two teams there, room for one here: the other one is not ours to remove."""
        _one_team(monkeypatch)
        _groups, there = teams(world, "Red", "Blue")
        sync, ids, users = both(world, 2, teams=True)
        world.vendor.join(ids[0], *there)
        world.run(sync)
        assert users[0].groups.count() == 1
        edit(users[0], last_name="Moved")

        world.run(sync)

        assert world.vendor.tables["people"][ids[0]].associated == set(there)
        assert theirs_city(world, ids[0]) == "Moved"

    def test_one_team_for_another_here_while_theirs_changed_is_pushed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _one_team(monkeypatch)
        (red, blue), (red_there, blue_there) = teams(world, "Red", "Blue")
        sync, ids, users = both(world, 2, teams=True)
        world.vendor.join(ids[0], red_there)
        world.run(sync)
        assert list(users[0].groups.all()) == [red]
        users[0].groups.set([blue])
        world.vendor.edit(ids[0], city="Moved")

        world.run(sync)
        world.run(sync)

        assert list(users[0].groups.all()) == [blue]
        assert world.vendor.tables["people"][ids[0]].associated == {blue_there}
        assert ours(users[0])[2] == "Moved"

    def test_one_team_for_another_there_comes_here(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        _one_team(monkeypatch)
        (_, blue), (red_there, blue_there) = teams(world, "Red", "Blue")
        sync, ids, users = both(world, 2, teams=True)
        world.vendor.join(ids[0], red_there)
        world.run(sync)
        world.vendor.join(ids[0], blue_there)

        world.run(sync)
        world.run(sync)

        assert list(users[0].groups.all()) == [blue]
        assert world.vendor.tables["people"][ids[0]].associated == {blue_there}


class TestWriting:
    def test_a_reference_to_what_is_not_here_any_more_holds_up_one_record_only(self, world: World) -> None:
        (_red,), (there,) = teams(world, "Red")
        ids = seed(world, 3)
        sync = world.pulling(teams=True)
        world.vendor.join(ids[0], there)
        Group.objects.all().delete()

        run = world.run(sync, seconds=10)

        assert run.created == 2
        assert run.rejected == 1

    def test_a_refused_removal_is_kept_with_its_reason(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = seed(world, 3)
        sync = world.pulling(mode="mirror", delete_policy="archive")
        world.run(sync)

        def write(self: WrittenPeople, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
            said = RecordError(Code.OTHER, "It has invoices.")
            return [Written(c.token, Status.REJECTED, c.local_key, said) for c in changes]

        monkeypatch.setattr(WrittenPeople, "write", write)
        world.vendor.archive(ids[0])

        run = world.changes(sync)

        assert world.arrivals() == {ids[0]: ("rejected", "kept_here")}
        assert run.state == Run.State.PROBLEMS
        assert "invoices" in world.groups(run)["kept_here"].message

    def test_a_writer_that_finds_one_record_for_two_of_theirs(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(2):
            world.vendor.seed("people", name=f"Twin {number}", email="twin@example.org")
        sync = world.pulling(match=())
        create = WrittenPeople._create

        def found(self: WrittenPeople, change: LocalChange) -> Written:
            user = User.objects.filter(email=change.values["email"]).first()
            return Written(change.token, Status.UPDATED, str(user.pk)) if user else create(self, change)

        monkeypatch.setattr(WrittenPeople, "_create", found)

        run = world.run(sync, seconds=10)

        assert counts(run) == {"created": 1, "ambiguous": 1}
        assert len(world.linked()) == 1

    def test_a_writer_that_names_no_key_has_written_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        seed(world, 2)
        sync = world.pulling()
        create = WrittenPeople._create

        def keyless(self: WrittenPeople, change: LocalChange) -> Written:
            create(self, change)
            return Written(change.token, Status.CREATED)

        monkeypatch.setattr(WrittenPeople, "_create", keyless)

        run = world.run(sync)

        assert counts(run) == {"rejected": 2}
        assert world.here() == {}

    def test_a_writer_that_refuses_each_record_by_itself_comes_to_its_end(self, world: World) -> None:
        world.vendor.page = 500
        for number in range(500):
            world.vendor.seed("people", name="refused", email=f"p{number}@example.org")
        sync = world.pulling()

        run = world.run(sync)

        assert counts(run) == {"rejected": 500}

    def test_a_sync_that_only_creates_changes_nothing_afterwards(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling(mode="create")
        world.run(sync)
        world.vendor.edit(ids[0], city="Elsewhere")

        run = world.run(sync)

        assert world.here()["Name 0"][1] == "City 0"
        assert counts(run) == {"unchanged": 2}


class TestOddRecords:
    @pytest.mark.parametrize("odd", ["a\0b@example.org", "a\ud800b@example.org"])
    def test_texts_that_no_database_takes_hold_up_one_record_only(self, world: World, odd: str) -> None:
        seed(world, 2)
        world.vendor.seed("people", name="Odd", email=odd)
        sync = world.pulling()

        run = world.run(sync, seconds=10)

        assert run.created == 2
        assert run.rejected == 1

    @pytest.mark.parametrize("odd", ["r\0x", "r\ud800x", "r" * 201])
    def test_ids_that_no_database_takes_hold_up_one_record_only(self, world: World, odd: str) -> None:
        (_first, second) = seed(world, 2)
        table = world.vendor.tables["people"]
        held = table.pop(second)
        held.id = odd
        table[odd] = held
        world.vendor.touch(odd)
        sync = world.pulling()

        run = world.run(sync, seconds=10)

        assert counts(run) == {"created": 1, "rejected": 1}

    def test_somebody_types_nonsense_over_our_key(self, world: World) -> None:
        """The others are still found by theirs."""
        mine = User.objects.create(username="u1", first_name="Mine", email="")
        sync = world.pulling()
        key = f"{Installation.current_id()}:test.person:"
        world.vendor.seed("people", name="Nonsense", email="x@example.org", own_key=f"{key}abc")
        there = world.vendor.seed("people", name="Theirs", email="theirs@example.org", own_key=f"{key}{mine.pk}")

        world.run(sync)

        assert world.linked()[there] == str(mine.pk)

    def test_an_e_mail_that_went_over_to_another_record_still_leads_to_ours(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        world.vendor.edit(ids[0], email="fresh@example.org")
        world.changes(sync)
        new = world.vendor.seed("people", name="New", email="p0@example.org")

        run = world.changes(sync)

        assert counts(run) == {"created": 1}
        assert new in world.linked()

    def test_a_record_in_the_place_of_an_archived_one_takes_ours_over(self, world: World) -> None:
        ids = seed(world, 2)
        sync = world.pulling()
        world.run(sync)
        key = world.linked()[ids[0]]
        world.vendor.archive(ids[0])
        world.changes(sync)
        new = world.vendor.seed("people", name="New", email="p0@example.org")

        world.changes(sync)

        assert world.linked().get(new) == key
