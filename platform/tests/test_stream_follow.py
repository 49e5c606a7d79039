"""A followed object: what changes there arrives as it is told, and what was lost on the way with a whole listing."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone
from syncline.contract import ObjectType, Page, PullRequest, RemoteRecord, Value
from syncline.ledger.models import ErrorGroup
from syncline.ledger.pulled import Checkpoint
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import noting
from syncline.runs.stream import claiming, keeping
from syncline.runs.stream.carrying import carry_out
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import Sync
from syncline.syncs.publish import publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


class Followed(Account):
    """`told`: pages it gives to whoever follows, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Page] = []
        self.followed: list[str | None] = []

    def types(self) -> list[ObjectType]:
        return [replace(one, follow=True) for one in super().types()]

    def tell(self, *records: RemoteRecord, gap: str = "") -> None:
        self.told.append(Page(records, str(len(self.told) + 1), gap=gap))

    def pages(self, table: str, request: PullRequest) -> Iterator[Page]:
        if not request.follow:
            yield from super().pages(table, request)
            return
        self.followed.append(request.position)
        at = int(request.position or 0)
        while True:
            if at < len(self.told):
                yield self.told[at]
                at += 1
            else:
                time.sleep(0.01)
                yield Page((), str(at))


class Following:
    def __init__(self, account: Followed) -> None:
        self.account, self.lab = account, World(account)

    def sync(self, **options: Any) -> Sync:
        return self.lab.pulling(continuous=True, **options)

    def go(self, until: Callable[[], bool]) -> None:
        """Carries out the continuous part until something is so, with an ordinary worker beside it."""
        keeping.Keeper(every=0.0).look()
        claim = claiming.claim("one")
        assert claim is not None
        stop, wake = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._carry, args=(claim, stop, wake))
        thread.start()
        end = time.monotonic() + 20
        try:
            while not until():
                assert time.monotonic() < end, RunPart.objects.values("kind", "state", "last_error")
                execute.work(0.1)
        finally:
            stop.set()
            thread.join(10)

    @staticmethod
    def _carry(claim: Any, stop: threading.Event, wake: threading.Event) -> None:
        try:
            carry_out(claim, stop, wake)
        finally:
            connections.close_all()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Following]:
    monkeypatch.setattr(noting, "PAUSE", 0.05)
    account = Followed()
    with installed(account):
        yield Following(account)


def told(id: str, **properties: Value) -> RemoteRecord:
    return RemoteRecord(id, properties)


def is_here(name: str) -> Callable[[], bool]:
    return lambda: User.objects.filter(first_name=name).exists()


def no_listing() -> bool:
    return not RunPart.objects.filter(kind__in=("pull", "missing", "fetch"), state__in=RunPart.OPEN).exists()


def test_what_was_there_before_is_listed_once_and_what_changes_arrives_as_it_is_told(here: Following) -> None:
    old = here.account.seed("people", name="Old", email="old@example.org", city="Ulm")
    here.sync()
    here.account.tell()
    here.go(lambda: is_here("Old")() and no_listing())
    here.account.edit(old, name="Changed")
    here.account.tell(told(old, name="Changed"))
    here.go(is_here("Changed"))
    assert here.lab.here() == {"Changed": ("old@example.org", "Ulm")}, "what was not told of it is left as it is"
    assert RunPart.objects.filter(kind="pull").count() == 1
    assert here.account.followed == [None, "1"]


def test_what_is_told_is_asked_for_as_it_is_now_and_each_record_once(here: Following) -> None:
    here.sync()
    here.account.tell()
    here.go(lambda: Checkpoint.objects.filter(partition="", seen_until__isnull=False).exists() and no_listing())
    here.account.fetched.clear()
    one, two = (here.account.seed("people", name=name, email=f"{name}@example.org", city="Ulm") for name in ("one", "two"))
    here.account.tell(told(one, name="older"), told(two, name="two"), told(one, name="old"))
    here.go(lambda: is_here("one")() and is_here("two")())
    assert sorted(here.account.fetched) == sorted([one, two])


def test_what_is_lost_comes_with_a_whole_listing_and_the_run_says_so(here: Following) -> None:
    sync = here.sync()
    here.account.tell()
    here.go(lambda: Checkpoint.objects.filter(partition="", seen_until__isnull=False).exists() and no_listing())
    here.account.seed("people", name="Missed", email="missed@example.org", city="Ulm")
    here.account.tell(gap="Events were lost.")
    here.go(is_here("Missed"))
    here.go(no_listing)
    keeping.end(Run.objects.get(sync=sync, state__in=Run.ACTIVE))
    assert ErrorGroup.objects.get(code="gap").message == "Events were lost."
    assert Run.objects.get(sync=sync).state == Run.State.PROBLEMS


def listed(state: str) -> int:
    return RunPart.objects.filter(kind="pull", state=state).count()


def reached(position: str) -> Callable[[], bool]:
    return Checkpoint.objects.filter(partition="follow", position=position).exists


def test_whatever_is_lost_during_a_listing_one_more_comes_after_it_and_not_beside_it(here: Following) -> None:
    sync = here.sync()
    here.account.tell()
    here.go(lambda: Checkpoint.objects.filter(partition="", seen_until__isnull=False).exists() and no_listing())
    run = Run.objects.get(sync=sync, state__in=Run.ACTIVE)
    hour = dt.timedelta(hours=1)
    busy = RunPart.objects.create(run=run, kind="pull", priority=0, state="leased", lease_until=Now() + hour, owner="slow")
    for number in range(3):
        here.account.tell(gap=f"Lost {number}.")
    here.go(reached("4"))
    assert (listed("leased"), listed("blocked"), listed("queued")) == (1, 1, 0)
    here.account.seed("people", name="Missed", email="missed@example.org", city="Ulm")

    RunPart.objects.filter(pk=busy.pk).update(state="done")
    here.account.tell()
    here.go(lambda: is_here("Missed")() and no_listing())
    assert listed("done") == 3, "the first one, the slow one and the one after it"


def test_a_listing_that_fails_is_begun_again_after_a_pause_that_grows(here: Following) -> None:
    sync = here.sync()
    keeping.Keeper(every=0.0).look()
    run = Run.objects.get(sync=sync, state__in=Run.ACTIVE)
    for _ in range(2):
        RunPart.objects.create(run=run, kind="pull", priority=0, state="dead")
    here.account.tell()
    here.account.tell()
    here.go(reached("2"))
    [again] = RunPart.objects.filter(kind="pull", state="queued")
    waits = (again.not_before - timezone.now()).total_seconds()
    assert 60 < waits <= 120


def test_runs_that_fail_are_begun_anew_after_pauses_that_grow_and_at_once_with_another_mapping(here: Following) -> None:
    sync, keeper = here.sync(), keeping.Keeper(every=0.0)

    def fail(ago: float) -> None:
        keeper.look()
        run = Run.objects.get(sync=sync, state__in=Run.ACTIVE)
        moment = timezone.now() - dt.timedelta(seconds=ago)
        Run.objects.filter(pk=run.pk).update(state="failed", reason="Not permitted.", finished_at=moment)

    fail(ago=6)
    fail(ago=4)
    keeper.look()
    assert not Run.objects.filter(sync=sync, state__in=Run.ACTIVE).exists(), "the second pause is longer than the first"
    sync.refresh_from_db()
    assert sync.blocked_reason is not None
    assert sync.blocked_reason.startswith("Not permitted. It begins again by itself at ")

    sync.rules.order_by("-position")[0].delete()
    publish(sync, here.lab.owner)
    keeper.look()
    assert Run.objects.filter(sync=sync, state__in=Run.ACTIVE).exists()


def test_what_cannot_be_followed_or_is_pushed_is_not_continuous(here: Following) -> None:
    with pytest.raises(MappingInvalid, match="pushed at once, not continuously"):
        here.sync(direction="two_way")
    here.account.types = lambda: Account.types(here.account)  # type: ignore[method-assign]
    with pytest.raises(MappingInvalid, match="cannot be followed"):
        here.sync()


def once_listed(here: Following) -> Sync:
    sync = here.sync()
    here.account.tell()
    here.go(lambda: Checkpoint.objects.filter(partition="", seen_until__isnull=False).exists() and no_listing())
    return sync


def test_what_a_run_was_still_to_fetch_when_another_took_its_place_that_one_fetches(here: Following) -> None:
    sync = once_listed(here)
    run = Run.objects.get(sync=sync, state__in=Run.ACTIVE)
    done, late = (here.account.seed("people", name=name, email=f"{name}@example.org", city="Ulm") for name in ("Done", "Late"))
    later = Now() + timedelta(hours=1)
    RunPart.objects.create(run=run, kind="fetch", keys=[done, late], cursor="1", not_before=later)
    keeping.end(run)
    ended = Run.objects.get(pk=run.pk)
    assert ended.state != Run.State.CANCELLED, "no person did that"
    here.account.fetched.clear()
    here.go(is_here("Late"))
    assert here.account.fetched == [late]
