"""A doorbell carries a queue's name; whoever hears it drains; nothing depends on its arriving."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.db import transaction
from django_q.models import OrmQ, Schedule
from syncline import background
from syncline.registry import checks


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Budgets with which the queue `probe` was drained; nothing else is drained or on the clock."""
    budgets: list[float] = []

    def drain(budget: float) -> bool:
        budgets.append(budget)
        return len(budgets) < 2  # the first time, work is left

    monkeypatch.setattr(background, "_drains", {"probe": drain})
    monkeypatch.setattr(background, "_clock", {"probe": 10.0})
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
    monkeypatch.setattr(background, "stopping", lambda: True)

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
    monkeypatch.setattr(background, "BACKLOG", 2)
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


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changed", "wrong"), [({}, ""), ({"retry": 60}, "may wait"), ({"timeout": 10}, "less than SYNCLINE_DRAIN_SECONDS")]
)
def test_times_that_would_start_a_doorbell_twice_are_an_error(
    changed: dict[str, int], wrong: str, settings: LazySettings
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, **changed}

    messages = checks.doorbell_times()

    assert [message.id for message in messages] == (["syncline.E002"] if wrong else [])
    assert wrong in "".join(message.msg for message in messages)


WORKER = """
import sys, time, django
django.setup()
from pathlib import Path
from syncline import background

heard = Path(sys.argv[1])

def drain(budget):
    with heard.open("a") as log:
        log.write("rung\\n")
    while (heard.parent / "busy").exists() and not background.stopping():
        time.sleep(0.05)
    with heard.open("a") as log:
        log.write("done\\n")
    return False

background._drains.clear(); background._clock.clear()
background.on("probe", drain)
background.every(float(sys.argv[2]), "probe")
sys.exit(background.run_worker())
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
