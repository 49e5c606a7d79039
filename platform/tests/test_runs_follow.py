"""Chains: a sync starts when the one that it follows has ended, once, and whatever happens in between."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils import timezone
from syncline.connections.models import Connection
from syncline.ledger.models import Link
from syncline.runs import execute, follow
from syncline.runs.models import Run
from syncline.runs.queue import mark_followers
from syncline.runs.start import cancel, push_keys, start_run
from syncline.runs.tick import tick
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


@pytest.fixture
def chain(lab: Lab) -> list[Sync]:
    """Teams, then the people in them, then the same people by name."""
    teams = lab.teams()
    people = lab.sync({"name": {}, "email": {}, "teams": {"association": True}}, follows=teams)
    named = lab.sync({"city": {}}, match=(), dataset="test.named", object_type="people", follows=people, mode="update")
    return [teams, people, named]


def to_the_end(seconds: float = 20.0) -> None:
    """As workers do: parts, and the tick in between."""
    end = time.monotonic() + seconds
    while Run.objects.filter(state__in=Run.ACTIVE).exists() or Sync.objects.filter(follows_run_id__isnull=False).exists():
        assert time.monotonic() < end, "The chain does not come to its end."
        execute.work(1)
        tick()


def runs() -> list[tuple[int, str]]:
    return list(Run.objects.order_by("id").values_list("sync_id", "trigger"))


def test_the_schedule_fires_the_head_and_the_others_follow_once_each(lab: Lab, chain: list[Sync]) -> None:
    teams, people, named = chain
    group = Group.objects.create(name="Reds")
    for user in lab.people(3):
        user.groups.add(group)
    Sync.objects.filter(pk=teams.pk).update(cron="0 3 * * *", next_due_at=timezone.now())
    tick()
    to_the_end()
    assert runs() == [(teams.pk, "schedule"), (people.pk, "follows"), (named.pk, "follows")]
    assert {run.state for run in Run.objects.all()} == {"succeeded"}
    red = lab.link(group).remote_id
    assert [held.associated for held in lab.vendor.live()] == [{red}] * 3
    tick()
    assert len(runs()) == 3


def test_a_plan_a_failure_and_a_cancelled_run_start_nothing(lab: Lab, chain: list[Sync]) -> None:
    teams = chain[0]
    for state, kind in (("failed", "full"), ("cancelled", "full"), ("succeeded", "plan"), ("succeeded", "apply")):
        mark_followers(Run(pk=1, sync=teams, state=state, kind=kind, created=1))
    assert not Sync.objects.filter(follows_run_id__isnull=False).exists()
    cancel(start_run(teams))
    tick()
    assert len(runs()) == 1


def test_one_that_is_still_running_starts_once_more_afterwards(lab: Lab, chain: list[Sync]) -> None:
    teams, people, _ = chain
    lab.people(1)
    busy = start_run(people)
    lab.run(teams)
    lab.run(teams)
    tick()
    assert Run.objects.filter(sync=people).count() == 1
    while Run.objects.filter(pk=busy.pk, state__in=Run.ACTIVE).exists():
        execute.work(5, busy.pk)
    to_the_end()
    assert [trigger for sync, trigger in runs() if sync == people.pk] == ["manual", "follows"]


def test_what_stands_in_the_way_is_said_and_the_next_round_tries_again(lab: Lab, chain: list[Sync]) -> None:
    teams, people, _ = chain
    version = people.current
    Sync.objects.filter(pk=people.pk).update(current=None)
    lab.run(teams)
    tick()
    people.refresh_from_db()
    assert "has no published mapping" in (people.blocked_reason or "")
    assert people.follows_run_id is None
    Sync.objects.filter(pk=people.pk).update(current=version)
    lab.run(teams)
    tick()
    people.refresh_from_db()
    assert people.blocked_reason is None
    assert Run.objects.filter(sync=people).count() == 1


def test_a_crash_between_the_end_of_one_and_the_start_of_the_next_loses_nothing(
    lab: Lab, chain: list[Sync], monkeypatch: pytest.MonkeyPatch
) -> None:
    teams, people, _ = chain

    def killed(*_: object, **__: object) -> Run:
        raise KeyboardInterrupt

    lab.run(teams)
    with monkeypatch.context() as patch:
        patch.setattr(follow, "start_run", killed)
        with pytest.raises(KeyboardInterrupt):
            tick()
    assert not Run.objects.filter(sync=people).exists()
    tick()
    assert Run.objects.filter(sync=people).count() == 1


def test_one_switched_off_does_not_follow(lab: Lab, chain: list[Sync]) -> None:
    teams, people, _ = chain
    Sync.objects.filter(pk=people.pk).update(enabled=False)
    lab.run(teams)
    tick()
    assert len(runs()) == 1


def test_a_single_record_that_others_wait_for_brings_these_along_and_nobody_else(lab: Lab, chain: list[Sync]) -> None:
    teams, people, _ = chain
    group = Group.objects.create(name="Late")
    one, _other = lab.people(2)
    one.groups.add(group)
    lab.run(people)
    assert lab.link(one).state == Link.State.WAITING
    run = push_keys(teams, [str(group.pk)])
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(5, run.pk)
    before = len(lab.vendor.pushes)
    tick()
    to_the_end()
    assert lab.link(one).state == Link.State.DELIVERED
    assert [call.keys for call in lab.vendor.pushes[before:]] == [(str(one.pk),)]
    followed = Run.objects.filter(sync=people, trigger="follows").get()
    assert followed.read <= 1


def test_a_circle_is_refused_and_one_that_came_about_all_the_same_does_not_turn(lab: Lab, chain: list[Sync]) -> None:
    teams, people, named = chain
    teams.follows = named
    with pytest.raises(ValidationError, match=r"wait for each other: .*teams → .*people → .*people\. Let"):
        teams.full_clean()
    people.follows = people
    with pytest.raises(ValidationError, match="wait for each other"):
        people.full_clean()
    Sync.objects.filter(pk=teams.pk).update(follows=named)
    lab.run(teams)
    tick()
    people.refresh_from_db()
    assert "wait for each other" in (people.blocked_reason or "")
    assert len(runs()) == 1


def test_a_follower_has_no_schedule_of_its_own_and_follows_within_its_connection(lab: Lab, chain: list[Sync]) -> None:
    people = chain[1]
    people.cron = "0 3 * * *"
    with pytest.raises(ValidationError, match="no schedule of its own"):
        people.full_clean()
    people.cron = ""
    people.connection = Connection.objects.create(connector="fake", name="Another account", owner=lab.owner)
    with pytest.raises(ValidationError, match="another connection"):
        people.full_clean()
