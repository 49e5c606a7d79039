"""A doorbell carries a queue's name; whoever hears it drains; nothing depends on its arriving."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.core.checks import run_checks
from django.db import OperationalError, connections, transaction
from django.test import override_settings
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from syncline import background
from syncline.background import bell, canary, checks, lookout
from syncline.runs import workers
from syncline.runs.models import WorkerCanary


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Budgets with which the queue `probe` was drained; nothing else is drained or on the clock."""
    budgets: list[float] = []

    def drain(budget: float) -> bool:
        budgets.append(budget)
        return len(budgets) < 2  # the first time, work is left

    monkeypatch.setattr(bell, "_drains", {"probe": drain})
    monkeypatch.setattr(bell, "clock", {"probe": 10.0})
    return budgets


def doorbells() -> list[tuple[str, tuple[Any, ...]]]:
    return [(task["func"], task["args"]) for task in (bell.task for bell in OrmQ.objects.all())]


@pytest.mark.django_db
def test_a_doorbell_carries_the_queues_name_and_nothing_else(drained: list[float]) -> None:
    background.ring("probe")

    assert doorbells() == [("syncline.background.answer", ("probe",))]


@pytest.mark.django_db(transaction=True)
def test_a_bell_rung_in_a_transaction_that_fails_is_not_heard(drained: list[float]) -> None:
    def fail() -> None:
        with transaction.atomic():
            background.ring("probe")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()

    assert doorbells() == []


@pytest.mark.django_db
def test_the_bell_rings_again_while_work_is_left(drained: list[float], settings: LazySettings) -> None:
    settings.SYNCLINE_DRAIN_SECONDS = 7

    background.answer("probe")
    again = doorbells()
    background.answer("probe")

    assert drained == [7.0, 7.0]
    assert len(again) == 1
    assert doorbells() == again


@pytest.mark.django_db
def test_a_worker_that_is_stopping_leaves_the_rest_to_others(drained: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "stopping", lambda: True)

    background.answer("probe")

    assert doorbells() == []


@pytest.mark.unit
def test_a_queue_nobody_drains_is_reported(drained: list[float], caplog: pytest.LogCaptureFixture) -> None:
    background.answer("elsewhere")

    assert "Nothing drains the queue elsewhere" in caplog.text


@pytest.mark.unit
def test_a_queue_has_one_drain(drained: list[float]) -> None:
    with pytest.raises(ValueError, match="probe"):
        background.on("probe", lambda _budget: False)


@pytest.mark.django_db
def test_the_clock_adds_no_bells_to_a_long_line(drained: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "BACKLOG", 2)
    for _each in range(5):
        background.tick()

    assert len(doorbells()) == 3


@pytest.mark.django_db
def test_there_is_one_schedule_row_and_a_changed_one_is_put_right() -> None:
    background.install_schedule()
    Schedule.objects.update(func="os.getcwd")
    background.install_schedule()
    background.install_schedule()

    (row,) = Schedule.objects.all()
    assert (row.func, row.minutes, row.repeats) == ("syncline.background.tick", 1, -1)


@pytest.mark.unit
def test_nobody_can_add_a_schedule_in_the_admin() -> None:
    assert [model for model in admin.site._registry if model._meta.app_label == "django_q"] == []


@pytest.mark.django_db
def test_a_drain_that_fails_is_told_and_leaves_no_row(drained: list[float], monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(_budget: float) -> bool:
        raise RuntimeError("no luck")

    monkeypatch.setattr(bell, "_drains", {"probe": fail})

    assert background.answer("probe") is False
    assert "no luck" in caplog.text
    assert doorbells() == []


# -- looking out ---------------------------------------------------------------------------------------------------


@pytest.mark.unit
def test_a_look_that_takes_long_is_taken_more_rarely() -> None:
    assert lookout.Lookout(0.2, lambda: None).once() == 0.2
    assert lookout.Lookout(0.2, lambda: time.sleep(0.1)).once() > 0.8


@pytest.mark.unit
@pytest.mark.parametrize("trouble", [OperationalError("gone"), RuntimeError("a mistake")])
def test_a_lookout_outlives_what_it_meets(trouble: Exception, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise trouble

    monkeypatch.setattr(lookout, "AFTER_FAILURE", 0.0)
    monkeypatch.setattr(bell, "stopping", lambda: len(looks) == 3)
    lookout.Lookout(0.0, look).keep()

    assert len(looks) == 3
    assert "trying again" in caplog.text


@pytest.mark.unit
def test_every_lookout_is_kept_until_the_worker_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(lookout, "_lookouts", [])
    monkeypatch.setattr(bell, "stopping", lambda: len(seen) == 2)
    background.look_out(0.01, lambda: seen.add("one"))
    background.look_out(0.01, lambda: seen.add("two"))
    lookout.keep_all()
    for thread in [one for one in threading.enumerate() if one.name == "lookout"]:
        thread.join(10)

    assert seen == {"one", "two"}


# -- how bells are handed out ----------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> str:
    """This process belongs to a cluster; gives the key of its own bell."""
    monkeypatch.setattr(canary, "_me", ("host:1:abc", 1))
    return canary.key()


def take() -> list[str]:
    """What the pusher of this cluster gets next."""
    from syncline.background.broker import Bell

    return [SignedPackage.loads(payload)["args"][0] for _id, payload in Bell("syncline").dequeue()]


@pytest.mark.django_db
def test_a_bell_is_taken_once_and_for_good_and_the_clusters_own_first(cluster: str) -> None:
    background.ring("probe")
    background.ring("other")
    bell.ring(canary.QUEUE, key=cluster)
    bell.ring("elsewhere", key="canary:another:2")

    assert [take(), take(), take(), take()] == [["canary"], ["probe"], ["other"], []]
    assert OrmQ.objects.get().key == "canary:another:2"


def take_elsewhere() -> list[str]:
    """In a thread, over its own connection."""
    try:
        return take()
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_two_who_take_at_once_wait_for_nobody_and_get_different_bells(cluster: str) -> None:
    background.ring("first")
    background.ring("second")
    with transaction.atomic():
        mine = take()
        with ThreadPoolExecutor(1) as other:
            others = other.submit(take_elsewhere).result(timeout=20)

    assert (mine, others) == (["first"], ["second"])


@pytest.mark.django_db
def test_without_a_database_the_pusher_waits_and_lives(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from syncline.background import broker

    def away(_self: object) -> list[tuple[int, str]]:
        raise OperationalError

    monkeypatch.setattr(broker.Bell, "_take", away)
    monkeypatch.setattr(broker, "PAUSE", 0)
    monkeypatch.setattr(connections["default"], "close", lambda: None)  # the test's transaction lives on it

    assert broker.Bell("syncline").dequeue() == []


@pytest.mark.django_db
def test_bells_of_canaries_do_not_silence_the_clock(drained: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "BACKLOG", 0)
    bell.ring(canary.QUEUE, key="canary:another:2")
    background.tick()

    assert ("syncline.background.answer", ("probe",)) in doorbells()


# -- signs of life ---------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(cluster: str, db: None) -> WorkerCanary:
    hour = timezone.now() - timedelta(hours=1)
    return WorkerCanary.objects.create(cluster="host:1:abc", host="host", pid=1, started_at=hour, beat_at=hour)


def gave_a_sign(listed: WorkerCanary) -> bool:
    before = listed.beat_at
    listed.refresh_from_db()
    return listed.beat_at > before


def test_an_answer_that_the_monitor_heard_of_is_a_sign_of_life(listed: WorkerCanary) -> None:
    result = background.answer(canary.QUEUE)
    assert not gave_a_sign(listed), "answering is not enough: the monitor may be dead"

    canary.heard("monitor", {"args": ("probe",), "result": True})
    assert not gave_a_sign(listed), "other bells are rung by other clusters too"
    canary.heard("monitor", {"args": (canary.QUEUE,), "result": False})
    assert not gave_a_sign(listed), "the worker could not reach the database"

    canary.heard("monitor", {"args": (canary.QUEUE,), "result": result})
    assert gave_a_sign(listed)


def test_a_process_of_an_earlier_start_gives_no_signs(listed: WorkerCanary) -> None:
    WorkerCanary.objects.update(pid=2)
    canary.beat()

    assert not gave_a_sign(listed)


@pytest.mark.django_db(transaction=True)
def test_a_worker_process_that_is_busy_for_long_gives_signs(
    drained: list[float], cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = WorkerCanary.objects.create(cluster="host:1:abc", host="host", pid=1)
    monkeypatch.setattr(canary, "interval", lambda: 0.05)
    seen: list[bool] = []

    def work(_budget: float) -> bool:
        end = time.monotonic() + 20
        while not seen and time.monotonic() < end:
            seen.extend([True] if gave_a_sign(row) else [])
        return False

    monkeypatch.setattr(bell, "_drains", {"probe": work})
    background.answer("probe")

    assert seen == [True]


def test_workers_bells_and_failures_of_long_ago_are_forgotten(listed: WorkerCanary) -> None:
    WorkerCanary.objects.create(cluster="gone", host="host", pid=3, beat_at=timezone.now() - timedelta(days=2))
    bell.ring(canary.QUEUE, key="canary:gone:3")
    OrmQ.objects.update(lock=timezone.now() - timedelta(hours=2))
    bell.ring("probe")
    old = timezone.now() - timedelta(days=40)
    Task.objects.create(id="1", name="old", func="f", started=old, stopped=old, success=False)

    canary.clean()

    assert list(WorkerCanary.objects.values_list("cluster", flat=True)) == ["host:1:abc"]
    assert [one.key for one in OrmQ.objects.all()] == ["syncline"]
    assert not Task.objects.exists()


def test_a_silent_worker_is_told_from_one_that_works(listed: WorkerCanary) -> None:
    WorkerCanary.objects.create(cluster="host:2:def", host="other", pid=2, restarts=3)

    assert [(one.host, one.restarts, one.silent) for one in workers.listed()] == [("host", 0, True), ("other", 3, False)]


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, ""),
        ({"retry": 60}, "may wait"),
        ({"timeout": 10}, "that a drain may take"),
        ({"timeout": 80}, "that a drain may take"),
        ({"timeout": None}, "never ended"),
    ],
)
def test_times_that_would_start_a_doorbell_twice_are_an_error(
    changed: dict[str, Any], wrong: str, settings: LazySettings
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, **changed}

    messages = checks.doorbell_times()

    assert [message.id for message in messages] == (["syncline.E002"] if wrong else [])
    assert wrong in "".join(message.msg for message in messages)


@pytest.mark.unit
def test_a_drain_has_the_time_to_list_an_account_of_millions_of_records(settings: LazySettings) -> None:
    pages, a_second = 3_000_000 / 100, 190 / 10  # HubSpot's page, and its calls

    assert float(str(settings.Q_CLUSTER["timeout"])) > pages / a_second


@pytest.mark.unit
@pytest.mark.parametrize("name", checks.WANTED)
def test_each_value_that_syncline_relies_on_is_checked(name: str, settings: LazySettings) -> None:
    assert checks.doorbell_values() == []
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, name: "another"}

    (message,) = checks.doorbell_values()

    assert message.id == "syncline.E003"
    assert f"Q_CLUSTER[{name!r}]" in message.msg
    assert f"Q_CLUSTER[{name!r}] = " in (message.hint or "")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("SYNCLINE_LEASE_SECONDS", 0, "E004"),
        ("SYNCLINE_LEASE_SECONDS", 3601, "E004"),
        ("SYNCLINE_LEASE_SECONDS", 5, "W004"),
        ("SYNCLINE_STREAM_LEASE_SECONDS", 0, "E004"),
        ("SYNCLINE_STALL_SECONDS", 1, "E004"),
        ("SYNCLINE_STALL_SECONDS", 60, "W004"),
        ("SYNCLINE_STOP_SECONDS", -1, "E004"),
    ],
)
def test_times_that_make_no_sense_are_named_with_the_next_step(
    name: str, value: float, number: str, settings: LazySettings
) -> None:
    assert checks.life_signs() == []
    setattr(settings, name, value)

    (message,) = checks.life_signs()

    assert message.id == f"syncline.{number}"
    assert name in message.msg
    assert message.hint


@pytest.mark.unit
def test_the_checks_are_part_of_djangos() -> None:
    with override_settings(Q_CLUSTER={"workers": 1}):
        found = {message.id for message in run_checks(tags=["syncline"])}

    assert {"syncline.E002", "syncline.E003"} <= found


# -- real processes --------------------------------------------------------------------------------------------------

WORKER = """
import sys, time, django
django.setup()
from pathlib import Path
from syncline import background
from syncline.background import bell
from syncline.background.cluster import run_cluster

heard = Path(sys.argv[1])

def drain(budget):
    with heard.open("a") as log:
        log.write("rung\\n")
    while (heard.parent / "busy").exists() and not background.stopping():
        time.sleep(0.05)
    with heard.open("a") as log:
        log.write("done\\n")
    return False

bell._drains.clear(); bell.clock.clear()
background.on("probe", drain)
background.every(float(sys.argv[2]), "probe")
sys.exit(run_cluster("probe", 0))
"""


@contextmanager
def worker(heard: Path, database_url: str, every: float) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}
    command = [sys.executable, "-c", WORKER, str(heard), str(every)]
    # to a file: orphans of a dead cluster would hold a pipe open
    with (heard.parent / "errors").open("w") as errors:
        process = subprocess.Popen(command, env=environment, stderr=errors, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def heard_within(heard: Path, times: int, word: str = "rung", seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if heard.exists() and heard.read_text().count(word) >= times:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_a_worker_hears_the_bell_and_the_clock_and_stops_when_asked(tmp_path: Path, database_url: str) -> None:
    heard = tmp_path / "heard"
    with worker(heard, database_url, every=1) as process:
        assert heard_within(heard, 3)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)

    assert code == 0, (tmp_path / "errors").read_text()


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_a_busy_worker_is_told_to_stop_and_finishes_what_it_is_at(tmp_path: Path, database_url: str) -> None:
    heard = tmp_path / "heard"
    (tmp_path / "busy").touch()
    with worker(heard, database_url, every=3600) as process:
        assert heard_within(heard, 1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)

    assert code == 0, (tmp_path / "errors").read_text()
    assert heard.read_text() == "rung\ndone\n"


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_a_worker_whose_cluster_died_says_so(tmp_path: Path, database_url: str) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil: make setup")
    heard = tmp_path / "heard"
    with worker(heard, database_url, every=3600) as process:
        assert heard_within(heard, 1)
        (sentinel,) = psutil.Process(process.pid).children()
        sentinel.kill()
        code = process.wait(timeout=30)

    assert code == 1
    assert "ended by itself" in (tmp_path / "errors").read_text()
