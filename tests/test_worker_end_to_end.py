"""Real workers: a schedule starts a run, and a run whose worker was killed is taken over by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from syncline.ledger.models import Link
from syncline.runs.models import Run
from syncline.syncs.models import Sync
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
COMPANIES = 1500  # several rounds of batches, so that a kill comes in between


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as running:
        yield running


@pytest.fixture
def sync(sandbox: RunningSandbox) -> Sync:
    call_command("populate_database", companies=COMPANIES, verbosity=0)
    owner = User.objects.create_superuser("owner")
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        return scenario.make_syncs(scenario.connect_by_token(owner, sandbox), owner)[0]


@contextmanager
def worker(database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "syncline_host.settings",
        "SYNCLINE_ALLOW_LOOPBACK": "1",
        "SYNCLINE_LEASE_SECONDS": "3",
    }
    process = subprocess.Popen([sys.executable, "-m", "syncline.cli", "worker"], env=environment, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def ended(sync: Sync) -> bool:
    return Run.objects.filter(sync=sync).exclude(state__in=Run.ACTIVE).exists()


def test_a_schedule_that_is_due_runs_once_and_gets_its_next_time(sync: Sync, sandbox: RunningSandbox, database_url: str) -> None:
    Sync.objects.filter(pk=sync.pk).update(cron="0 3 * * *", next_due_at=timezone.now() - timedelta(days=3))
    with worker(database_url):
        assert until(lambda: ended(sync)), "no run ended"

    run = Run.objects.get(sync=sync)
    assert (run.trigger, run.state) in {("schedule", "succeeded"), ("schedule", "problems")}, run.reason
    assert run.read == COMPANIES
    assert len(sandbox.admin.live("companies")) == run.created
    sync.refresh_from_db()
    assert sync.next_due_at is not None
    assert sync.next_due_at > timezone.now()


def test_a_run_whose_worker_was_killed_is_finished_by_another(sync: Sync, sandbox: RunningSandbox, database_url: str) -> None:
    sandbox.admin.config(latency_ms=700)  # long enough to be killed in the middle
    Sync.objects.filter(pk=sync.pk).update(cron="0 3 * * *", next_due_at=timezone.now())
    with worker(database_url) as first:
        assert until(lambda: bool(sandbox.admin.live("companies"))), "nothing was sent"
        os.killpg(first.pid, signal.SIGKILL)
    assert not ended(sync)
    sandbox.admin.config(latency_ms=0)
    with worker(database_url):
        assert until(lambda: ended(sync)), "no worker took it over"

    run = Run.objects.get(sync=sync)
    linked = Link.objects.filter(connection=sync.connection, object_type="companies", remote_id__isnull=False)
    assert run.state in {"succeeded", "problems"}, run.reason
    assert run.created + run.adopted + run.ambiguous + run.rejected == COMPANIES
    assert {one.remote_id for one in linked} == {one["id"] for one in sandbox.admin.live("companies")}
    assert len(linked) == run.created + run.adopted


def test_a_change_arrives_at_once_and_not_at_the_next_tick(sync: Sync, sandbox: RunningSandbox, database_url: str) -> None:
    """Three, one after the other: by ticks alone the second and the third would take ten seconds each."""
    Sync.objects.filter(pk=sync.pk).update(at_once=True)
    company = apps.get_model("companies", "Company").objects
    with worker(database_url):
        assert until(lambda: ended(sync)), "no full pass was made"
        links = Link.objects.filter(connection=sync.connection, state=Link.State.DELIVERED, remote_id__isnull=False)
        link = links.filter(object_type="companies").earliest("pk")
        began = time.monotonic()
        for number in range(3):
            company.filter(pk=link.local_key).update(description=f"change {number}")
            assert until(lambda wanted=f"change {number}": shown(sandbox, link) == wanted), "a change did not arrive"  # type: ignore[misc]
        took = time.monotonic() - began
    assert took < 15
    assert set(Run.objects.exclude(kind=Run.Kind.FULL).values_list("kind", "trigger")) == {("changes", "change")}


def shown(sandbox: RunningSandbox, link: Link) -> str:
    [found] = sandbox.admin.live("companies", ids=link.remote_id)
    return str(found["properties"].get("description"))
