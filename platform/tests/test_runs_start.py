"""Starting runs: one at a time, on time, with the right permissions."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections, transaction
from django.utils import timezone
from syncline.contract import ConfigError
from syncline.ledger import writer
from syncline.runs import claims, queue
from syncline.runs.execute import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.push import steps
from syncline.runs.start import AlreadyRunning, cancel, pause, push_keys, resume, start_run
from syncline.runs.tick import next_due, start_due, tick
from syncline.syncs.models import Sync
from syncline.syncs.publish import publish

sys.path += [path for path in (str(Path(__file__).parent),) if path not in sys.path]

from pushing.lab import Lab, installed
from pushing.vendor import Vendor

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with installed(Vendor()):
        yield Lab(Vendor())


def together(work: Callable[[], object], times: int = 6) -> list[object]:
    def one(_: int) -> object:
        try:
            return work()
        except AlreadyRunning as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_of_many_who_start_a_sync_at_once_one_does(lab: Lab) -> None:
    sync = lab.sync()
    found = together(lambda: start_run(sync))
    assert sum(isinstance(one, Run) for one in found) == 1
    assert sum(isinstance(one, AlreadyRunning) for one in found) == 5
    assert Run.objects.get().parts.count() == 2


def test_a_cancelled_run_makes_room_for_the_next(lab: Lab) -> None:
    sync = lab.sync()
    run = start_run(sync)
    cancel(run)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert start_run(sync).pk != run.pk


def test_cancelling_reaches_what_is_added_in_that_moment_and_waits_for_nobody_in_a_circle(lab: Lab) -> None:
    lab.people(3)
    run = start_run(lab.sync())
    held = claims.claim("w", run.pk)
    assert held is not None
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            writer.advance(cursor, held.fence, Counter(), "1")
            cancelling = pool.submit(_apart, lambda: cancel(run))
            until_somebody_waits()
            claims.requeue_keys(held.fence, ["1"], after=0.0, round_=1)
        cancelling.result()
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert set(run.parts.values_list("kind", "state")) == {
        ("prepare", "cancelled"),
        ("range", "cancelled"),
        ("keys", "cancelled"),
    }


def test_cancelling_reaches_the_lists_that_a_look_at_everything_is_just_making(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.people(3)
    sync = lab.sync()
    lab.run(sync)
    User.objects.filter(is_staff=False).update(last_name="Elsewhere")
    run, add_keys = start_run(sync), queue.add_keys
    with ThreadPoolExecutor(1) as pool:
        cancelling: list[Future[None]] = []

        def adding(*arguments: Any) -> None:
            cancelling.append(pool.submit(_apart, lambda: cancel(run)))
            until_somebody_waits()
            add_keys(*arguments)

        monkeypatch.setattr(steps, "add_keys", adding)
        held = claims.claim("w", run.pk)
        assert held is not None
        execute(held)
        cancelling[0].result()
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert not run.parts.filter(state__in=RunPart.OPEN).exists()


def _apart(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        connections.close_all()


def until_somebody_waits() -> None:
    """For a lock that this session holds."""
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
            )
            if cursor.fetchone()[0]:
                return
            time.sleep(0.02)
    raise AssertionError("Nobody waits.")


def test_a_run_that_was_paused_before_it_began_begins_when_it_is_resumed(lab: Lab) -> None:
    run = start_run(lab.sync())
    assert pause(run)
    assert resume(run)
    run.refresh_from_db()
    assert run.state == "running"
    assert run.started_at is not None


@pytest.mark.parametrize("key", ["abc", "", "1.5"])
def test_what_cannot_be_a_key_is_refused_and_ends_no_run(lab: Lab, key: str) -> None:
    sync = lab.sync()
    run = start_run(sync)
    with pytest.raises(ConfigError, match="can be keys of"):
        push_keys(sync, ["1", key])
    assert run.parts.count() == 2
    assert push_keys(sync, ["1", "999999999"]).pk == run.pk  # that there is no such record is another matter


def test_a_due_sync_is_started_once_by_several_tickers_and_a_missed_time_made_up_for_once(lab: Lab) -> None:
    sync = lab.sync(cron="*/5 * * * *")
    Sync.objects.update(next_due_at=timezone.now() - dt.timedelta(days=3))
    assert sorted(map(str, together(start_due))) == [*"00000", "1"]
    assert Run.objects.get().trigger == "schedule"
    sync.refresh_from_db()
    assert sync.next_due_at is not None
    assert timezone.now() < sync.next_due_at <= timezone.now() + dt.timedelta(minutes=5)
    cancel(Run.objects.get())
    assert start_due() == 0


def test_a_sync_that_was_just_given_a_schedule_starts_at_its_next_time(lab: Lab) -> None:
    sync = lab.sync(cron="0 3 * * *")
    assert start_due() == 0
    sync.refresh_from_db()
    assert sync.next_due_at == next_due("0 3 * * *", timezone.now())


def test_a_schedule_that_cannot_be_read_stops_no_other(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = lab.sync(cron="every day"), lab.sync(cron="* * * * *")
    tick()
    Sync.objects.filter(pk=good.pk).update(next_due_at=timezone.now() - dt.timedelta(minutes=1))
    tick()
    assert [run.sync_id for run in Run.objects.all()] == [good.pk]
    assert f"The sync {bad.pk} has the schedule 'every day', which cannot be read" in caplog.text


def test_a_step_of_the_tick_that_fails_keeps_no_run_from_being_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = start_run(lab.sync())
    run.parts.update(state="done")

    def start_due() -> int:
        raise RuntimeError("a sync that cannot be read")

    monkeypatch.setattr("syncline.runs.tick.start_due", start_due)
    tick()
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert "The step start_due of the tick failed" in caplog.text


def test_a_disabled_sync_and_one_without_schedule_are_not_started(lab: Lab) -> None:
    lab.sync(cron="* * * * *", enabled=False)
    lab.sync()
    Sync.objects.update(next_due_at=timezone.now() - dt.timedelta(minutes=1))
    assert start_due() == 0


def test_a_sync_without_a_published_mapping_says_so(lab: Lab) -> None:
    sync = lab.sync()
    Sync.objects.update(current=None)
    sync.refresh_from_db()
    with pytest.raises(ConfigError, match=r"no published mapping\. Publish its draft first"):
        start_run(sync)


def test_an_inactive_owner_parks_the_connection_and_the_others_go_on(lab: Lab) -> None:
    sync = lab.sync(cron="* * * * *")
    User.objects.filter(pk=lab.owner.pk).update(is_active=False)
    Sync.objects.update(next_due_at=timezone.now() - dt.timedelta(minutes=1))
    assert start_due() == 0
    with pytest.raises(ConfigError, match="owner"):
        start_run(Sync.objects.get(pk=sync.pk))
    assert not Run.objects.exists()


def test_the_owner_needs_the_datasets_permission(lab: Lab) -> None:
    sync = lab.sync()
    User.objects.filter(pk=lab.owner.pk).update(is_superuser=False)
    with pytest.raises(ConfigError, match=r"may not read test.person \(permission auth.view_user\)"):
        start_run(Sync.objects.get(pk=sync.pk))
    lab.owner.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert start_run(Sync.objects.get(pk=sync.pk)).state == "queued"


def test_why_a_due_sync_cannot_start_stands_on_it_until_it_starts(lab: Lab) -> None:
    sync = lab.sync(cron="* * * * *")
    User.objects.filter(pk=lab.owner.pk).update(is_superuser=False)

    def due() -> str | None:
        Sync.objects.update(next_due_at=timezone.now() - dt.timedelta(minutes=1))
        start_due()
        return Sync.objects.get(pk=sync.pk).blocked_reason

    assert "may not read test.person (permission auth.view_user)" in (due() or "")
    lab.owner.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert due() is None
    assert Run.objects.get().trigger == "schedule"
    assert due() is None  # still running: nothing stands in its way


def test_a_due_sync_without_a_published_mapping_says_so_until_it_is_published(lab: Lab) -> None:
    sync = lab.sync(cron="* * * * *")
    Sync.objects.update(current=None, next_due_at=timezone.now() - dt.timedelta(minutes=1))
    start_due()
    sync = Sync.objects.get(pk=sync.pk)
    assert "Publish its draft first" in (sync.blocked_reason or "")
    publish(sync, lab.owner)
    assert sync.blocked_reason is None
    assert Sync.objects.get(pk=sync.pk).blocked_reason is None


def test_somebody_without_a_grant_may_not_start_it(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="Ask its owner for a grant"):
        start_run(lab.sync(), user=User.objects.create_user("stranger"))
