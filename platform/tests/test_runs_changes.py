"""From a changed row to the account: the outbox is emptied into runs, and nothing is lost on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import override_settings
from django.utils import timezone
from syncline.connections.models import Connection, ConnectionState
from syncline.contract import ConfigError
from syncline.outbox import watch
from syncline.outbox.models import OutboxKey
from syncline.runs import changes, claims, close, start, tick
from syncline.runs.execute import work
from syncline.runs.models import Run, RunPart
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
OFTEN = "*/5 * * * *"


@pytest.fixture
def lab() -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)
        Sync.objects.update(enabled=False)
        assert watch.reconcile()


def watched(lab: Lab, **options: Any) -> Sync:
    """A sync with five delivered records that watches, with nothing waiting."""
    lab.people(5)
    sync = lab.sync(changes_cron=OFTEN, **options)
    assert watch.reconcile()
    changes.push(sync)
    finish(sync)
    lab.vendor.pushes.clear()
    return sync


def finish(sync: Sync) -> Run:
    """Carries out what was started, and gives the sync's last run."""
    while work(10.0):
        pass
    run = Run.objects.filter(sync=sync).latest("pk")
    assert run.state in (Run.State.SUCCEEDED, Run.State.PROBLEMS), run.reason
    return run


def waiting() -> set[str]:
    return set(OutboxKey.objects.values_list("local_key", flat=True))


def user(number: int) -> User:
    return User.objects.get(username=f"u{number:05}")


def rename(number: int, name: str) -> str:
    User.objects.filter(username=f"u{number:05}").update(first_name=name)
    return str(user(number).pk)


def test_what_begins_to_watch_makes_a_full_pass_first(lab: Lab) -> None:
    sync = watched(lab)
    run = Run.objects.get(sync=sync)
    assert (run.kind, run.trigger, run.created) == (Run.Kind.FULL, "change", 5)
    assert waiting() == set()


def test_only_what_changed_is_read_and_sent(lab: Lab) -> None:
    sync = watched(lab)
    key = rename(2, "Zoe")
    assert changes.push(sync) == 1
    run = finish(sync)
    assert (run.kind, run.trigger, run.read, run.updated) == (Run.Kind.CHANGES, "change", 1, 1)
    assert lab.vendor.sent() == {key: 1}
    assert "Zoe" in lab.vendor.by_name()
    assert waiting() == set()


def test_a_new_record_and_a_membership_are_pushed(lab: Lab) -> None:
    lab.people(2)
    group = Group.objects.create(name="Team")
    sync = lab.sync({"name": {}, "email": {}, "teams": {"source": "teams", "association": True}}, changes_cron=OFTEN)
    assert watch.reconcile()
    OutboxKey.objects.all().delete()
    user(1).groups.add(group)
    assert waiting() == {str(user(1).pk)}
    lab.people(1, start=7)
    changes.push(sync)
    assert finish(sync).created == 2


def test_a_key_that_waits_many_times_is_pushed_once(lab: Lab) -> None:
    sync = watched(lab)
    for name in ("A", "B", "C"):
        key = rename(1, name)
    assert OutboxKey.objects.count() == 3
    changes.push(sync)
    assert finish(sync).read == 1
    assert lab.vendor.sent() == {key: 1}


def test_changes_join_the_run_that_is_active_and_go_first(lab: Lab) -> None:
    sync = watched(lab)
    run = start.start_run(sync)
    rename(3, "Joined")
    changes.push(sync)
    part = RunPart.objects.get(run=run, kind=RunPart.Kind.KEYS)
    assert part.priority == RunPart.Priority.CHANGE > RunPart.objects.get(run=run, kind=RunPart.Kind.PREPARE).priority
    finish(sync)
    assert Run.objects.filter(sync=sync).count() == 2
    assert "Joined" in lab.vendor.by_name()


def test_a_plan_takes_no_changes_and_they_stay(lab: Lab) -> None:
    sync = watched(lab)
    plan = start.start_run(sync, kind=Run.Kind.PLAN)
    key = rename(3, "Later")
    with pytest.raises(start.AlreadyRunning):
        changes.push(sync)
    assert waiting() == {key}
    start.cancel(plan)
    changes.push(sync)
    assert finish(sync).updated == 1


def test_a_row_committed_late_is_pushed_next_time(lab: Lab, database_url: str) -> None:
    sync = watched(lab)
    with psycopg.connect(database_url) as late:
        late.execute("UPDATE auth_user SET first_name = 'Late' WHERE username = 'u00001'")
        rename(2, "Early")
        changes.push(sync)
        finish(sync)
        late.commit()
    assert "Late" not in lab.vendor.by_name()
    assert changes.push(sync) == 1
    finish(sync)
    assert {"Late", "Early"} <= set(lab.vendor.by_name())


class TestNothingIsLost:
    @pytest.mark.parametrize("point", ["changes.taken", "changes.after"])
    def test_killed_around_the_taking(self, lab: Lab, point: str) -> None:
        sync = watched(lab)
        rename(2, "Zoe")
        killed(lambda: changes.push(sync), point)
        before = point == "changes.taken"
        assert bool(waiting()) is before
        assert Run.objects.filter(sync=sync, state=Run.State.QUEUED).exists() is not before
        changes.push(sync)
        finish(sync)
        assert "Zoe" in lab.vendor.by_name()

    def test_killed_while_a_full_pass_takes_the_place_of_the_keys(self, lab: Lab) -> None:
        sync = watched(lab)
        OutboxKey.objects.create(sync=sync, local_key="")
        rename(2, "Zoe")
        killed(lambda: changes.push(sync), "changes.taken")
        assert "" in waiting()
        assert Run.objects.filter(sync=sync).count() == 1
        changes.push(sync)
        assert finish(sync).kind == Run.Kind.FULL
        assert "Zoe" in lab.vendor.by_name()

    def test_what_was_cancelled_waits_again(self, lab: Lab) -> None:
        sync = watched(lab)
        key = rename(2, "Zoe")
        changes.push(sync)
        run = Run.objects.latest("pk")
        assert waiting() == set()
        start.cancel(run)
        assert waiting() == {key}

    def test_what_was_given_up_waits_again(self, lab: Lab) -> None:
        sync = watched(lab)
        key = rename(2, "Zoe")
        changes.push(sync)
        claim = claims.claim("worker")
        assert claim is not None
        claims.finish(claim.fence, RunPart.State.DEAD, "It cannot be done.")
        run = close.close_run(claim.part.run_id)
        assert run is not None
        assert run.state == Run.State.FAILED
        assert waiting() == {key}

    def test_what_a_person_asked_for_and_cancelled_does_not(self, lab: Lab) -> None:
        sync = watched(lab)
        start.cancel(start.push_keys(sync, [str(user(1).pk)]))
        assert waiting() == set()

    def test_keys_stay_while_the_connection_is_parked(self, lab: Lab) -> None:
        sync = watched(lab)
        key = rename(2, "Zoe")
        User.objects.filter(pk=lab.owner.pk).update(is_active=False)
        sync = Sync.objects.select_related("connection").get(pk=sync.pk)
        with pytest.raises(ConfigError):
            changes.push(sync)
        assert key in waiting()

    def test_keys_stay_until_the_account_is_connected_again(self, lab: Lab) -> None:
        sync = watched(lab)
        key = rename(2, "Zoe")
        Connection.objects.update(state=ConnectionState.RECONNECT)
        with pytest.raises(ConfigError, match="Reconnect"):
            changes.push(Sync.objects.get(pk=sync.pk))
        assert waiting() == {key}
        assert Run.objects.count() == 1


class TestEverythingAtOnce:
    def test_a_marked_full_pass_takes_the_place_of_all_keys(self, lab: Lab) -> None:
        sync = watched(lab)
        OutboxKey.objects.create(sync=sync, local_key="")
        rename(2, "Zoe")
        changes.push(sync)
        run = finish(sync)
        assert (run.kind, run.read) == (Run.Kind.FULL, 5)
        assert waiting() == set()

    @override_settings(SYNCLINE_CHANGES_LIMIT=3)
    def test_so_do_too_many_keys(self, lab: Lab) -> None:
        sync = watched(lab)
        for number in range(4):
            rename(number, f"Zoe {number}")
        changes.push(sync)
        run = finish(sync)
        assert (run.kind, run.updated) == (Run.Kind.FULL, 4)

    def test_while_a_run_is_active_it_waits_and_the_keys_join(self, lab: Lab) -> None:
        sync = watched(lab)
        start.start_run(sync)
        OutboxKey.objects.create(sync=sync, local_key="")
        rename(2, "Zoe")
        changes.push(sync)
        assert waiting() == {""}
        finish(sync)
        changes.push(sync)
        assert finish(sync).kind == Run.Kind.FULL


class TestTick:
    def test_installs_triggers_and_starts_what_is_due(self, lab: Lab) -> None:
        lab.people(3)
        sync = lab.sync(changes_cron=OFTEN)
        tick.tick()
        sync.refresh_from_db()
        assert sync.next_changes_at is not None
        assert sync.next_changes_at > timezone.now()
        assert waiting() == {""}
        Sync.objects.update(next_changes_at=timezone.now() - timedelta(seconds=1))
        tick.tick()
        sync.refresh_from_db()
        assert sync.next_changes_at > timezone.now()
        assert finish(sync).created == 3

    def test_says_why_it_cannot_push_and_does_not_fill_the_disk(self, lab: Lab) -> None:
        sync = watched(lab)
        User.objects.filter(pk=lab.owner.pk).update(is_active=False)
        for number in range(4):
            rename(number, "Zoe")
        with override_settings(SYNCLINE_CHANGES_LIMIT=3):
            Sync.objects.update(next_changes_at=timezone.now())
            changes.tick()
        sync.refresh_from_db()
        assert sync.blocked_reason
        assert waiting() == {""}


def killed(action: Any, point: str) -> None:
    """Carries it out in a process that dies there, as by kill -9."""
    connections.close_all()
    pid = os.fork()
    if not pid:
        os.environ["SYNCLINE_CRASH_AT"] = point
        try:
            action()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 137
