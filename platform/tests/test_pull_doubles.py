"""One remote record, one record of ours: pulls beside pushes without an answer, and lots that are stored at the same moment."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, connections, transaction
from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import LocalChange, ObjectType, PushResult, RemoteRecord, Status, Written
from syncline.contract.values import Change
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.ledger.records import Fence
from syncline.runs import claims, execute
from syncline.runs.job import Job
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import creating, ground, noting, parts, placing, turns, window
from syncline.runs.pull.start import pull_ids
from syncline.runs.start import push_keys, start_run
from syncline.syncs.models import FieldRule, MatchStepRow, Sync
from syncline.syncs.publish import publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import RULES, World, WrittenPeople, installed  # noqa: E402
from pushing.vendor import Vendor, lost_answer, lost_request  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State
BY_EMAIL = ({"property": "email", "normalise": "email"},)
TOGETHER = 1.0
"""Seconds that a writer waits for another one to come."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    monkeypatch.setattr(noting, "PAUSE", 0.05)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        yield World(account)


def people() -> list[str]:
    return sorted(User.objects.filter(is_staff=False).values_list("first_name", flat=True))


def mine(name: str = "Mine", email: str = "", city: str = "Leeds") -> User:
    return User.objects.create(username=name, first_name=name, email=email, last_name=city)


def carry_out_next(run: Run) -> None:
    claim = claims.claim("other", run.pk)
    assert claim
    execute.execute(claim)


def finish(run: Run) -> Run:
    execute.work(20, run.pk)
    run.refresh_from_db()
    return run


class Unkeyed:
    """An account whose objects have no property for our key."""

    @pytest.fixture(autouse=True)
    def unkeyed(self, world: World) -> None:
        world.vendor.own_key = False


class TestAnswersThatComeLate(Unkeyed):
    def test_what_a_push_has_just_made_there_is_not_made_here_before_its_answer(self, world: World) -> None:
        """The event arrives while the request that made the record is still on its way."""
        sync = world.pulling("two_way", match=())
        user = mine()

        def late(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
            told = vendor.carry_out(object_type, changes)
            pull_ids(world.connection.pk, "people", [str(told[0].remote_id)])
            claim = claims.claim("other", urgent=True)
            assert claim
            execute.execute(claim)
            return told

        world.vendor.faults = [late]

        run = world.run(sync)

        assert people() == ["Mine"]
        assert list(world.linked().values()) == [str(user.pk)]
        assert world.arrivals() == {}
        assert run.state == Run.State.SUCCEEDED, run.reason

    def test_a_pull_of_its_own_waits_for_the_answer_to_a_push_of_its_own(self, world: World) -> None:
        push = world.sync(match=())
        pull = world.pulling(match=())
        user = mine()
        pulls: list[Run] = []

        def late(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
            told = vendor.carry_out(object_type, changes)
            pulls.append(start_run(pull))
            carry_out_next(pulls[0])
            return told

        world.vendor.faults = [late]
        world.run(push)

        run = finish(pulls[0])

        assert people() == ["Mine"]
        assert list(world.linked().values()) == [str(user.pk)]
        assert run.state == Run.State.SUCCEEDED, run.reason

    def test_one_record_that_a_person_sends_is_not_met_by_a_pull_before_its_answer(self, world: World) -> None:
        sync = world.pulling("two_way", match=())
        world.run(sync)
        user = mine()

        def late(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
            told = vendor.carry_out(object_type, changes)
            pull_ids(world.connection.pk, "people", [str(told[0].remote_id)])
            claim = claims.claim("other", urgent=True)
            assert claim
            execute.execute(claim)
            return told

        world.vendor.faults = [late]

        finish(push_keys(sync, [str(user.pk)], user=world.owner))

        assert people() == ["Mine"]
        assert list(world.linked().values()) == [str(user.pk)]

    def test_others_are_taken_in_meanwhile(self, world: World) -> None:
        sync = world.pulling("two_way", match=())
        mine()

        def late(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
            told = vendor.carry_out(object_type, changes)
            other = world.vendor.seed("people", name="Other", email="o@example.org", city="York")
            pull_ids(world.connection.pk, "people", [other])
            claim = claims.claim("other", urgent=True)
            assert claim
            execute.execute(claim)
            assert people() == ["Mine", "Other"]
            return told

        world.vendor.faults = [late]
        world.run(sync)

        assert people() == ["Mine", "Other"]
        assert len(world.linked()) == 2


class TestAnswersThatNeverCame(Unkeyed):
    def lost(self, world: World, **options: Any) -> tuple[Sync, User, str]:
        """Ours was made there; nothing tells that it is ours."""
        sync = world.pulling("two_way", match=(), **options)
        user = mine()
        world.vendor.faults = [lost_answer]
        world.run(sync)
        assert Link.objects.get().state == State.AMBIGUOUS
        return sync, user, next(iter(world.vendor.tables["people"]))

    def test_what_may_be_ours_is_for_a_person(self, world: World) -> None:
        sync, user, there = self.lost(world)

        run = world.changes(sync)

        assert people() == ["Mine"]
        assert world.arrivals() == {there: ("ambiguous", "perhaps_ours")}
        assert f"our record {user.pk}" in Arrival.objects.get().reason
        assert "review list" in world.groups(run)["perhaps_ours"].next_step

    def test_a_person_links_it(self, world: World) -> None:
        sync, user, there = self.lost(world)
        world.changes(sync)

        finish(placing.link_to(Arrival.objects.get(), str(user.pk), world.owner))

        assert world.linked() == {there: str(user.pk)}
        assert world.arrivals() == {}
        assert people() == ["Mine"]

    def test_a_person_says_that_it_is_a_record_of_its_own(self, world: World) -> None:
        sync, _user, there = self.lost(world)
        world.changes(sync)

        for run in placing.create(Arrival.objects.all(), world.owner):
            finish(run)

        assert people() == ["Mine", "Mine"]
        assert there in world.linked()
        assert world.arrivals() == {}

    def test_it_is_looked_at_again_as_soon_as_the_doubt_has_ended(self, world: World) -> None:
        sync, _user, there = self.lost(world)
        world.changes(sync)
        Link.objects.update(state=State.EXCLUDED, uncertain_op="")  # a person has found out that it was another
        world.vendor.moments.at[there] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # so that it is not listed as changed

        world.changes(sync)

        assert there in world.linked()

    def test_what_was_there_before_ours_was_sent_is_taken_in(self, world: World) -> None:
        sync, _user, there = self.lost(world)
        old = world.vendor.seed("people", name="Mine", city="Leeds")
        world.vendor.moments.at[old] = Link.objects.get().created - dt.timedelta(seconds=5)

        world.run(sync)

        assert old in world.linked()
        assert list(world.arrivals()) == [there]

    def test_what_was_edited_there_since_is_still_for_a_person(self, world: World) -> None:
        sync, _user, there = self.lost(world)
        world.vendor.edit(there, name="Renamed", city="  LEEDS ")

        world.changes(sync)

        assert people() == ["Mine"]
        assert world.arrivals() == {there: ("ambiguous", "perhaps_ours")}

    def test_what_has_nothing_of_ours_is_taken_in(self, world: World) -> None:
        sync, _user, there = self.lost(world)
        new = world.vendor.seed("people", name="Other", city="York")

        world.changes(sync)

        assert new in world.linked()
        assert list(world.arrivals()) == [there]

    def test_so_many_that_they_are_not_compared_might_be_any(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(creating, "COMPARED", 0)
        sync, _user, there = self.lost(world)
        new = world.vendor.seed("people", name="Other", city="York")

        world.changes(sync)

        assert set(world.arrivals()) == {there, new}

    def test_ours_has_another_identifier_and_is_another(self, world: World) -> None:
        """Found by its e-mail as long as it has one; what shares just the city is not it."""
        sync = world.pulling("two_way")
        mine(email="mine@example.org")
        world.vendor.faults = [lost_request]
        world.vendor.lag = 60.0
        catalog.refresh(world.connection)
        run = start_run(sync)
        while carried_out(run):
            pass
        assert Link.objects.get().state == State.UNCERTAIN
        new = world.vendor.seed("people", name="Other", email="other@example.org", city="Leeds")

        pull_ids(world.connection.pk, "people", [new])
        claim = claims.claim("other", urgent=True)
        assert claim
        execute.execute(claim)

        assert new in world.linked()


def carried_out(run: Run) -> bool:
    claim = claims.claim("one", run.pk)
    if claim:
        execute.execute(claim)
    return claim is not None


class TestPullsByThemselves(Unkeyed):
    """The sync that pushes the same records is another one, and runs when it likes."""

    def doubtful(self, world: World) -> tuple[Sync, Link, str]:
        pull = world.pulling(match=())
        world.sync(match=())
        user = mine()
        link = Link.objects.create(
            connection=world.connection,
            object_type="people",
            dataset="test.person",
            local_key=str(user.pk),
            state=State.UNCERTAIN,
            revision=1,
            uncertain_op="create",
        )
        return pull, link, world.vendor.seed("people", name="Mine", city="Leeds")

    def test_what_a_dead_worker_may_have_made_waits_for_the_push_without_holding_up_the_run(self, world: World) -> None:
        pull, _link, there = self.doubtful(world)

        run = world.run(pull)

        assert people() == ["Mine"]
        assert world.arrivals() == {there: ("waiting", "being_created")}
        assert RunPart.objects.filter(run=run, round__gt=0).count() == 0

    def test_once_a_push_has_found_out_it_is_taken_in(self, world: World) -> None:
        pull, link, there = self.doubtful(world)
        world.run(pull)
        Link.objects.filter(pk=link.pk).update(remote_id="r999", state=State.DELIVERED, uncertain_op="")
        world.vendor.moments.at[there] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

        world.changes(pull)

        assert there in world.linked()
        assert world.arrivals() == {}

    def test_it_does_not_wait_for_ever(self, world: World) -> None:
        """The sync that pushed was switched off in the middle."""
        pull, _link, there = self.doubtful(world)
        world.run(pull)
        Arrival.objects.update(since=dt.datetime.now(dt.UTC) - 2 * parts.PATIENCE)

        world.changes(pull)

        assert people() == ["Mine"]
        assert world.arrivals() == {there: ("ambiguous", "perhaps_ours")}

    def test_a_record_left_out_of_the_sync_meanwhile_may_still_be_what_arrives(self, world: World) -> None:
        pull, link, there = self.doubtful(world)
        Link.objects.filter(pk=link.pk).update(state=State.EXCLUDED)

        world.run(pull)

        assert world.arrivals() == {there: ("ambiguous", "perhaps_ours")}

    def test_a_record_that_is_not_here_any_more_may_still_be_what_arrives(self, world: World) -> None:
        pull, _link, there = self.doubtful(world)
        User.objects.filter(first_name="Mine").delete()

        world.run(pull)

        assert world.arrivals() == {there: ("waiting", "being_created")}


class TestAlike:
    SENT = {"name": creating.texts("Mine"), "city": creating.texts("Leeds")}

    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("properties", "alike"),
        [
            ({"name": "Mine", "city": "Leeds"}, True),
            ({"name": " MINE.", "city": "York"}, True),
            ({"name": "Other", "city": "York"}, False),
            ({"name": None, "city": ""}, True),
            ({}, True),
        ],
    )
    def test_one_value_in_common_is_enough(self, properties: dict[str, Any], alike: bool) -> None:
        assert creating.alike(properties, self.SENT, ()) is alike

    @pytest.mark.unit
    def test_another_identifier_says_that_it_is_another(self) -> None:
        assert not creating.alike({"name": "Other", "city": "Leeds"}, self.SENT, {"name"})

    @pytest.mark.unit
    def test_without_anything_known_of_it_it_may_be_anything(self) -> None:
        assert creating.alike({"name": "Other"}, {}, {"name"})


class TestAnotherDataset:
    def test_what_a_push_of_another_dataset_has_just_made_there_is_not_taken_in_before_its_answer(self, world: World) -> None:
        """It bears our key, which is none of this dataset."""
        world.run(world.pulling())
        push = world.sync({"name": {}}, match=(), dataset="test.team", object_type="people")
        Group.objects.create(name="Red")
        pulls: list[Run] = []

        def late(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
            told = vendor.carry_out(object_type, changes)
            pull_ids(world.connection.pk, "people", [str(told[0].remote_id)])
            pulls.append(Run.objects.latest("pk"))
            carry_out_next(pulls[0])
            return told

        world.vendor.faults = [late]
        world.run(push)
        finish(pulls[0])

        assert people() == []
        assert Link.objects.get().dataset == "test.team"
        assert [code for _, code in world.arrivals().values()] == ["linked_to_other"]


class Together:
    """Writers wait for one another, for a moment: whoever could be at it at the same time is."""

    def __init__(self, number: int = 2) -> None:
        self.barrier, self.met = threading.Barrier(number), 0
        self._write = WrittenPeople.write

    def write(self, dataset: WrittenPeople, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
        try:
            self.barrier.wait(TOGETHER)
            self.met += 1
        except threading.BrokenBarrierError:
            pass
        return self._write(dataset, changes, owner)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Together:
    made = Together()

    def write(self: WrittenPeople, changes: Sequence[LocalChange], owner: Any) -> list[Written]:
        return made.write(self, changes, owner)

    def create(self: WrittenPeople, change: LocalChange) -> Written:
        """Our database does not refuse a second one."""
        name, email = (str(change.values.get(field) or "") for field in ("name", "email"))
        user = User.objects.create(username=uuid.uuid4().hex, first_name=name, email=email)
        return Written(change.token, Status.CREATED, str(user.pk))

    monkeypatch.setattr(WrittenPeople, "write", write)
    monkeypatch.setattr(WrittenPeople, "_create", create)
    return made


def at_once(*found: claims.Claim | None) -> None:
    def carry_out(claim: claims.Claim) -> None:
        try:
            execute.execute(claim)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=carry_out, args=(claim,)) for claim in found if claim]
    assert len(threads) == len(found)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def fetching(world: World, *ids: str) -> claims.Claim | None:
    """A part of its own for these records."""
    pull_ids(world.connection.pk, "people", list(ids))
    return claims.claim(f"worker {ids[0]}")


class TestLotsAtTheSameMoment:
    def started(self, world: World, **options: Any) -> Sync:
        sync = world.pulling(**options)
        world.run(sync)
        return sync

    def twins(self, world: World) -> tuple[str, str]:
        first, second = (world.vendor.seed("people", name=f"Twin {n}", email="twin@example.org") for n in range(2))
        return first, second

    def test_two_records_with_one_e_mail_are_not_both_created(self, world: World, together: Together) -> None:
        self.started(world)
        first, second = self.twins(world)

        at_once(fetching(world, first), fetching(world, second))

        assert len(people()) == 1
        assert [code for _, code in world.arrivals().values()] == ["linked_to_other"]

    def test_nor_when_our_records_cannot_be_found_quickly(
        self, world: World, together: Together, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(WrittenPeople, "find", lambda self, field, values: None)
        self.started(world)
        first, second = self.twins(world)

        at_once(fetching(world, first), fetching(world, second))

        assert len(people()) == 1

    def test_nor_when_there_are_many_beside_them(self, world: World, together: Together, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then a lot does not hold each of its identities."""
        monkeypatch.setattr(turns, "FEW", 3)
        self.started(world)
        first, second = self.twins(world)
        others = [world.vendor.seed("people", name=f"Other {n}", email=f"o{n}@example.org") for n in range(3)]

        at_once(fetching(world, first, *others), fetching(world, second))

        assert people() in (["Other 0", "Other 1", "Other 2", twin] for twin in ("Twin 0", "Twin 1"))

    def test_one_record_that_two_parts_bring_is_created_once_and_no_attempt_is_lost(
        self, world: World, together: Together
    ) -> None:
        self.started(world, match=())
        (there,) = [world.vendor.seed("people", name="New", email="new@example.org")]

        at_once(fetching(world, there), fetching(world, there))

        assert people() == ["New"]
        assert list(world.linked()) == [there]
        assert list(RunPart.objects.exclude(last_error="")) == []

    def test_two_accounts_that_bring_the_same_person_get_one_record(self, world: World, together: Together) -> None:
        self.started(world)
        other = second_account(world)
        (there,) = [world.vendor.seed("people", name="New", email="new@example.org")]
        pull_ids(other.pk, "people", [there])
        theirs = claims.claim("theirs")

        at_once(fetching(world, there), theirs)

        assert people() == ["New"]
        assert Link.objects.filter(remote_id=there).values("local_key").distinct().count() == 1

    def test_those_that_have_nothing_in_common_are_stored_at_once(self, world: World, together: Together) -> None:
        self.started(world)
        first, second = (world.vendor.seed("people", name=f"New {n}", email=f"n{n}@example.org") for n in range(2))

        at_once(fetching(world, first), fetching(world, second))

        assert together.met == 2
        assert people() == ["New 0", "New 1"]

    def test_of_two_in_one_lot_that_share_a_value_one_is_created(self, world: World) -> None:
        self.started(world)
        first, second = self.twins(world)

        carry_out = fetching(world, first, second)
        assert carry_out
        execute.execute(carry_out)

        assert people() == ["Twin 0"]
        assert world.arrivals() == {second: ("ambiguous", "several_remote")}

    def test_a_lot_of_many_holds_one_lock(self, world: World) -> None:
        sync = self.started(world)
        run = Run.objects.filter(sync=sync).latest("pk")
        records = [RemoteRecord(f"r{n}", {"email": f"p{n}@example.org"}) for n in range(1000)]

        with transaction.atomic(), connection.cursor() as cursor:
            turns.take(cursor, opened(run), records)
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            assert cursor.fetchone()[0] == 1


def opened(run: Run) -> ground.Ground:
    """What a part of this run would be carried out with."""
    part = RunPart.objects.create(run=run, kind=RunPart.Kind.FETCH, state=RunPart.State.LEASED, keys=["r1"])
    claim = claims.Claim(part, Fence(part.pk, 0, run.pk))
    return ground.opened(Job(claim, claims.Lease(claim.fence), float("inf")))


def second_account(world: World) -> Connection:
    other = Connection.objects.create(connector="fake", name="Another account", owner=world.owner)
    catalog.refresh(other)
    sync = Sync.objects.create(
        name="the other one", connection=other, dataset="test.person", object_type="people", direction="pull",
        created_by=world.owner,
    )  # fmt: skip
    MatchStepRow.objects.create(sync=sync, position=0, **BY_EMAIL[0])
    for position, name in enumerate(RULES):
        FieldRule.objects.create(sync=sync, position=position, source=name, target=name)
    publish(sync, world.owner)
    return other


class TestWrittenHereMeanwhile:
    """Our records cannot be found quickly, so that their match values are read when a part begins."""

    @pytest.fixture(autouse=True)
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WrittenPeople, "find", lambda self, field, values: None)

    def listed_late(self, world: World, meanwhile: Any) -> None:
        read = world.vendor.pages

        def slow(table: str, request: Any) -> Any:
            pages = list(read(table, request))
            world.vendor.pages = read  # type: ignore[method-assign]
            meanwhile()
            yield from pages

        world.vendor.pages = slow  # type: ignore[method-assign]

    def test_a_record_made_here_since_the_part_began_is_found(self, world: World) -> None:
        sync = world.pulling()
        there = world.vendor.seed("people", name="New", email="new@example.org")
        self.listed_late(world, lambda: mine("Ours", "new@example.org"))

        world.run(sync)

        assert world.linked() == {there: str(User.objects.get(email="new@example.org").pk)}

    def test_one_that_got_its_e_mail_since_is_found(self, world: World) -> None:
        sync = world.pulling()
        user = mine("Ours")
        there = world.vendor.seed("people", name="New", email="new@example.org")
        self.listed_late(world, lambda: User.objects.filter(pk=user.pk).update(email="new@example.org"))

        world.run(sync)

        assert world.linked() == {there: str(user.pk)}

    def test_one_found_for_an_earlier_lot_is_not_forgotten(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("syncline.runs.pull.pages.LOT", 1)
        world.vendor.page = 1
        sync = world.pulling()
        world.vendor.seed("people", name="First", email="first@example.org")
        there = world.vendor.seed("people", name="New", email="new@example.org")
        self.listed_late(world, lambda: mine("Ours", "new@example.org"))

        world.run(sync)

        assert world.linked()[there] == str(User.objects.get(email="new@example.org").pk)
        assert len(people()) == 2


class TestWhatWentAndCameAgain:
    @pytest.mark.parametrize("quick", [True, False])
    def test_a_whole_listing_gives_our_record_to_the_one_in_the_place_of_an_archived_one(
        self, world: World, monkeypatch: pytest.MonkeyPatch, quick: bool
    ) -> None:
        if not quick:
            monkeypatch.setattr(WrittenPeople, "find", lambda self, field, values: None)
        old = world.vendor.seed("people", name="Person", email="p@example.org")
        sync = world.pulling()
        world.run(sync)
        key = world.linked()[old]
        world.vendor.archive(old)
        world.changes(sync)
        new = world.vendor.seed("people", name="Person", email="p@example.org")

        world.run(sync)

        assert people() == ["Person"]
        assert world.linked() == {new: key}

    @pytest.mark.parametrize("quick", [True, False])
    def test_ours_outside_the_segment_is_ours_all_the_same(
        self, world: World, monkeypatch: pytest.MonkeyPatch, quick: bool
    ) -> None:
        if not quick:
            monkeypatch.setattr(WrittenPeople, "find", lambda self, field, values: None)
        user = mine("Away", "away@example.org")
        User.objects.filter(pk=user.pk).update(is_active=False)
        sync = world.pulling(segment="active")
        there = world.vendor.seed("people", name="Away", email="away@example.org")

        world.run(sync)

        assert world.linked() == {there: str(user.pk)}

    def test_a_record_unlinked_by_a_person_at_that_moment_is_looked_at_once_more(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look who has no link and the look at the links."""
        there = world.vendor.seed("people", name="Person", email="p@example.org")
        sync = world.pulling()
        world.run(sync)
        key = world.linked()[there]
        world.vendor.edit(there, city="Elsewhere")
        take = turns.take

        def meanwhile(cursor: Any, found_on: ground.Ground, records: Any) -> frozenset[str]:
            found = take(cursor, found_on, records)
            if not found:
                Link.objects.update(remote_id=None, state=State.PENDING)
            return found

        monkeypatch.setattr(turns, "take", meanwhile)

        world.changes(sync)

        assert people() == ["Person"]
        assert world.linked() == {there: key}
