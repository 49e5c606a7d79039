"""Changes at once: from a commit to the account without a schedule, together where they can, each connection in its turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models.functions import Now
from django.utils import timezone
from syncline.connections.models import Connection, ConnectionState
from syncline.contract import Change, ObjectType, PushResult, Session, hookimpl
from syncline.ledger.models import Link
from syncline.ledger.records import Scope
from syncline.outbox import watch
from syncline.outbox.models import OutboxKey
from syncline.registry import dataset
from syncline.runs import at_once, claims, job, start
from syncline.runs.execute import execute, work
from syncline.runs.models import Run, RunPart
from syncline.runs.push.reader import Source, chosen
from syncline.runs.tick import tick
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, installed  # noqa: E402
from pushing.vendor import Fake, Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
CHANGE = RunPart.Priority.CHANGE


class ByAccount(Fake):
    """Notes over which connection each record came."""

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        self.vendor.came += [(session.settings.get("account", ""), change.local_key) for change in changes]  # type: ignore[attr-defined]
        return super().push(session, object_type, changes)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    vendor = Vendor()
    vendor.came = []  # type: ignore[attr-defined]
    monkeypatch.setattr(at_once, "_held", {})
    with installed(vendor, ByAccount):
        yield Lab(vendor)
        Sync.objects.update(enabled=False)
        assert watch.reconcile()


def watched(lab: Lab, account: str = "", **options: Any) -> Sync:
    """A sync with whatever people there are delivered, with nothing waiting; over a connection of its own when it has a name."""
    if account:
        settings = {"account": account}
        lab.connection = Connection.objects.create(connector="fake", name=account, owner=lab.owner, settings=settings)
    sync = lab.sync(**{"at_once": True, **options})
    assert watch.reconcile()
    settle()
    came(lab).clear()
    lab.vendor.pushes.clear()
    return sync


def settle() -> None:
    """Everything that waits is carried out."""
    for _each in range(20):
        rest()
        at_once.look()
        while work(10.0):
            pass
        if not OutboxKey.objects.exists() and not Run.objects.filter(state__in=Run.ACTIVE).exists():
            return
    raise AssertionError("It does not come to rest.")


def rest() -> None:
    """As if a second had passed since the last part."""
    RunPart.objects.update(not_before=timezone.now() - timedelta(seconds=at_once.APART + 1))


def came(lab: Lab) -> list[tuple[str, str]]:
    return lab.vendor.came  # type: ignore[attr-defined, no-any-return]


def flood(sync: Sync, number: int) -> None:
    OutboxKey.objects.bulk_create(OutboxKey(sync=sync, local_key=str(10_000_000 + n)) for n in range(number))


def rename(number: int, name: str) -> str:
    User.objects.filter(username=f"u{number:05}").update(first_name=name)
    return str(User.objects.get(username=f"u{number:05}").pk)


def parts(sync: Sync, **where: Any) -> int:
    return RunPart.objects.filter(run__sync=sync, kind=RunPart.Kind.KEYS, **where).count()


def waiting(sync: Sync) -> int:
    return OutboxKey.objects.filter(sync=sync).count()


def test_what_begins_to_watch_makes_a_full_pass_without_waiting_for_a_schedule(lab: Lab) -> None:
    lab.people(3)
    sync = lab.sync(at_once=True)
    tick()
    run = Run.objects.get(sync=sync)
    assert (run.kind, run.trigger) == (Run.Kind.FULL, "change")


def test_a_change_becomes_a_part_in_the_lane_of_changes(lab: Lab) -> None:
    lab.people(3)
    sync = watched(lab)
    key = rename(1, "Zoe")
    rest()
    at_once.look()
    part = RunPart.objects.get(run__kind=Run.Kind.CHANGES)
    assert (part.keys, part.priority, waiting(sync)) == ([key], CHANGE, 0)
    settle()
    assert lab.vendor.sent() == {key: 1}


def test_the_tick_takes_them_when_nobody_looks_out(lab: Lab) -> None:
    lab.people(3)
    watched(lab)
    key = rename(1, "Zoe")
    rest()
    tick()
    while work(10.0):
        pass
    assert lab.vendor.sent() == {key: 1}


def test_who_waits_for_a_schedule_or_only_pulls_is_not_served(lab: Lab) -> None:
    lab.people(3)
    at_five = lab.sync(changes_cron="*/5 * * * *")
    pulls = lab.sync(at_once=True)
    Sync.objects.filter(pk=pulls.pk).update(direction=Sync.Direction.PULL)
    assert watch.reconcile()
    flood(pulls, 1)
    at_once.look()
    assert not Run.objects.exists()
    assert watch.watching() == [at_five]


def test_changes_at_once_and_on_a_schedule_go_together(lab: Lab) -> None:
    lab.people(3)
    sync = watched(lab, changes_cron="*/5 * * * *")
    rename(1, "Zoe")
    Sync.objects.filter(pk=sync.pk).update(changes_cron="")
    assert watch.reconcile()
    assert (waiting(sync), watch.watching()) == (1, [sync]), "it watches on"
    settle()
    assert "Zoe" in lab.vendor.by_name()


class TestTogether:
    def test_while_a_part_is_on_its_way_the_next_keys_wait_and_go_as_one(self, lab: Lab) -> None:
        lab.people(9)
        sync = watched(lab)
        rename(0, "First")
        rest()
        at_once.look()
        before = parts(sync)
        for number in range(1, 9):
            rename(number, f"Later {number}")
            rest()
            at_once.look()
        assert (parts(sync), waiting(sync)) == (before, 8)
        claim = claims.claim("worker")
        rest()
        at_once.look()
        assert waiting(sync) == 8, "nor while it is carried out"
        assert claim is not None
        execute(claim)
        rest()
        at_once.look()
        assert (parts(sync), waiting(sync)) == (before + 1, 0)
        work(10.0)
        assert [len(call.keys) for call in lab.vendor.pushes] == [1, 8]

    def test_two_parts_are_a_second_apart(self, lab: Lab) -> None:
        lab.people(3)
        sync = watched(lab)
        rename(0, "First")
        rest()
        at_once.look()
        work(10.0)
        rename(1, "Second")
        RunPart.objects.update(not_before=Now())
        at_once.look()
        assert waiting(sync) == 1
        rest()
        at_once.look()
        assert waiting(sync) == 0

    def test_what_was_put_off_keeps_nothing_waiting(self, lab: Lab) -> None:
        lab.people(3)
        sync = watched(lab)
        rename(0, "First")
        rest()
        at_once.look()
        RunPart.objects.filter(run__sync=sync).update(round=1)
        rename(1, "Second")
        at_once.look()
        assert waiting(sync) == 0

    def test_they_join_the_run_that_is_active(self, lab: Lab) -> None:
        lab.people(3)
        sync = watched(lab)
        run = start.start_run(sync)
        rename(0, "Joined")
        at_once.look()
        assert RunPart.objects.get(run=run, kind=RunPart.Kind.KEYS).priority == CHANGE

    def test_two_who_look_in_the_same_moment_make_one_part(self, lab: Lab) -> None:
        lab.people(3)
        sync = watched(lab)
        before = parts(sync)
        flood(sync, 50)
        rest()
        together = threading.Barrier(4)

        def look() -> None:
            together.wait()
            at_once.look()
            connections.close_all()

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (parts(sync), waiting(sync)) == (before + 1, 0)

    def test_who_looked_a_moment_later_finds_the_part_on_its_way(self, lab: Lab) -> None:
        lab.people(1)
        sync = watched(lab)
        flood(sync, 5_000)
        rest()
        for _each in range(2):
            at_once._take_turn(sync.pk)
        assert waiting(sync) == 3_000


class TestWhoCannotRun:
    def test_says_why_is_tried_again_later_and_keeps_nobody_waiting(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        lab.people(3)
        ill, well = watched(lab, "ill"), watched(lab, "well")
        Connection.objects.filter(name="ill").update(state=ConnectionState.RECONNECT)
        rename(1, "Zoe")
        rest()
        at_once.look()
        ill.refresh_from_db()
        assert "Reconnect" in (ill.blocked_reason or "")
        assert (waiting(ill), waiting(well)) == (1, 0)
        Connection.objects.update(state=ConnectionState.OK)
        at_once.look()
        assert waiting(ill) == 1, "not five times a second"
        monkeypatch.setattr(at_once, "_held", {})
        at_once.look()
        assert waiting(ill) == 0

    def test_a_run_that_failed_is_not_repeated_at_once(self, lab: Lab) -> None:
        lab.people(3)
        sync = watched(lab)
        rename(1, "Zoe")
        rest()
        at_once.look()
        claim = claims.claim("worker")
        assert claim is not None
        claims.finish(claim.fence, RunPart.State.DEAD, "It cannot be done.")
        tick()
        rest()
        at_once.look()
        assert (Run.objects.latest("pk").state, waiting(sync)) == (Run.State.FAILED, 1)
        Run.objects.update(finished_at=timezone.now() - timedelta(seconds=at_once.AFTER_FAILURE + 1))
        at_once.look()
        assert waiting(sync) == 0

    def test_one_whose_run_somebody_holds_keeps_nobody_waiting(self, lab: Lab) -> None:
        lab.people(3)
        held, free = watched(lab, "held"), watched(lab, "free")
        run = start.start_run(held)
        rename(1, "Zoe")
        rest()
        release, holds = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                Run.objects.select_for_update().get(pk=run.pk)
                holds.set()
                release.wait(20)
            connections.close_all()

        thread = threading.Thread(target=hold)
        thread.start()
        holds.wait(20)
        at_once.look()
        release.set()
        thread.join()
        assert (waiting(held), waiting(free)) == (1, 0)


class TestInTurn:
    """No connection waits for another's flood: of a connection, few parts are in line, and fewer are carried out."""

    def test_a_flood_takes_one_part_at_a_time(self, lab: Lab) -> None:
        lab.people(1)
        flooded, other = watched(lab, "flooded"), watched(lab, "other")
        before = parts(flooded)
        flood(flooded, 10_000)
        flood(other, 1)
        rest()
        at_once.look()
        assert (parts(flooded), waiting(flooded), waiting(other)) == (before + 1, 8_000, 0)
        claimed = [claim.part.run.sync_id for _ in range(2) if (claim := claims.claim("worker"))]
        assert claimed == [flooded.pk, other.pk]

    def test_the_connection_that_has_the_fewest_parts_carried_out_is_first(self, lab: Lab) -> None:
        lab.people(1)
        flooded, other = watched(lab, "flooded"), watched(lab, "other")
        start.push_keys(flooded, [str(n) for n in range(10_000)], priority=CHANGE, kind=Run.Kind.CHANGES)
        start.push_keys(other, ["1"], priority=CHANGE, kind=Run.Kind.CHANGES)
        claimed = [claim.part.run.sync_id for _ in range(4) if (claim := claims.claim("worker"))]
        assert claimed == [flooded.pk, other.pk, flooded.pk, flooded.pk]

    def test_the_lane_beside_long_parts_takes_one_of_a_connection(self, lab: Lab) -> None:
        lab.people(1)
        flooded, other = watched(lab, "flooded"), watched(lab, "other")
        start.push_keys(flooded, [str(n) for n in range(10_000)], priority=CHANGE, kind=Run.Kind.CHANGES)
        assert claims.claim("worker+", urgent=True) is not None
        assert claims.claim("another+", urgent=True) is None
        start.push_keys(other, ["1"], priority=CHANGE, kind=Run.Kind.CHANGES)
        claim = claims.claim("another+", urgent=True)
        assert claim is not None
        assert claim.part.run.sync_id == other.pk
        start.push_keys(flooded, ["1"])
        claim = claims.claim("third+", urgent=True)
        assert claim is not None
        assert claim.part.priority == RunPart.Priority.INTERACTIVE, "a person waits for no turn"

    def test_a_slow_one_gives_its_part_back_while_another_waits(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(job, "SLICE_SECONDS", 0.0)
        lab.people(1)
        slow, other = watched(lab, "slow"), watched(lab, "other")
        start.push_keys(slow, [str(10_000_000 + n) for n in range(2000)], priority=CHANGE, kind=Run.Kind.CHANGES)
        claim = claims.claim("worker")
        assert claim is not None
        key = rename(0, "Zoe")
        start.push_keys(other, [key], priority=CHANGE, kind=Run.Kind.CHANGES)
        execute(claim)
        part = RunPart.objects.get(pk=claim.part.pk)
        assert (part.state, part.cursor, part.attempt) == (RunPart.State.QUEUED, "500", 0)
        claim = claims.claim("worker")
        assert claim is not None
        assert claim.part.run.sync_id == other.pk
        execute(claim)
        assert came(lab) == [("other", key)]
        work(10.0)
        part.refresh_from_db()
        assert part.state == RunPart.State.DONE, "and goes on when nobody waits"

    def test_it_makes_way_for_a_person_and_for_nobody_else_of_its_connection(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job, "SLICE_SECONDS", 0.0)
        lab.people(1)
        sync = watched(lab, "only")
        start.push_keys(sync, [str(10_000_000 + n) for n in range(4000)], priority=CHANGE, kind=Run.Kind.CHANGES)
        claim = claims.claim("worker")
        assert claim is not None
        execute(claim)
        assert RunPart.objects.get(pk=claim.part.pk).state == RunPart.State.DONE
        claim = claims.claim("worker")
        assert claim is not None
        start.push_keys(sync, [rename(0, "Zoe")])
        execute(claim)
        assert RunPart.objects.get(pk=claim.part.pk).state == RunPart.State.QUEUED
        claim = claims.claim("worker")
        assert claim is not None
        assert claim.part.priority == RunPart.Priority.INTERACTIVE

    def test_a_flood_keeps_no_change_of_another_connection_waiting(self, lab: Lab) -> None:
        """One worker, which has been at the flood for a while when the other connection's change is committed."""
        lab.people(1)
        flooded, other = watched(lab, "flooded"), watched(lab, "other")
        flood(flooded, 20_000)
        order = [*carried_out(), *carried_out()]
        assert order == [flooded.pk] * 2
        key = rename(0, "Zoe")
        assert carried_out() == [flooded.pk, other.pk]
        assert ("other", key) in came(lab)
        assert waiting(flooded) >= 14_000


def carried_out() -> list[int]:
    """Looks once, and carries out what that made claimable: the syncs in the order of their claims."""
    rest()
    at_once.look()
    order = []
    while claim := claims.claim("worker"):
        order.append(claim.part.run.sync_id)
        execute(claim)
    return order


class TestComingBack:
    def test_what_one_connection_delivered_goes_to_the_others_and_not_back(self, lab: Lab) -> None:
        lab.people(2)
        origin, other = watched(lab, "origin"), watched(lab, "other")
        key = pulled(lab, origin, 1, "Theirs")
        assert (waiting(origin), waiting(other)) == (1, 1)
        settle()
        assert came(lab) == [("other", key)]

    def test_a_later_change_here_goes_to_both(self, lab: Lab) -> None:
        lab.people(2)
        origin, _other = watched(lab, "origin"), watched(lab, "other")
        key = pulled(lab, origin, 1, "Theirs")
        settle()
        came(lab).clear()
        rename(1, "Ours")
        settle()
        assert sorted(came(lab)) == [("origin", key), ("other", key)]


def pulled(lab: Lab, origin: Sync, number: int, name: str) -> str:
    """What arrived from there is written here, and its link knows that both sides hold it, in one transaction: as a pull does."""
    with transaction.atomic():
        key = rename(number, name)
        link = Link.objects.get(connection=origin.connection, local_key=key)
        link.delivered = {**link.delivered, "name": fingerprint(name)}
        link.source_hash = hash_here(origin, key)
        link.save()
    return key


def hash_here(sync: Sync, key: str) -> int:
    assert sync.current is not None
    mapping = compiled(sync.current)
    scope = Scope(sync.connection_id, sync.object_type, sync.dataset)
    seed = job.seed_of(mapping)
    [row] = next(chosen(Source(dataset(sync.dataset), mapping.fields, scope, "", None, seed, 0), [key])).rows
    return row.hash
