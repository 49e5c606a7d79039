"""A worker whose processes were killed or hang is started anew; nothing of it outlives its supervisor."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from syncline.background import canary, processes
from syncline.background.canary import Sign
from syncline.localdb import TEST_PREFIX, admin_connection, ensure_database
from syncline.runs.models import WorkerCanary
from syncline.supervisor import Group, Supervisor, Watch, pause

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
STARTED, ALIVE = Sign(NOON, False), Sign(NOON + dt.timedelta(seconds=1), True)
LATER = Sign(NOON + dt.timedelta(seconds=2), True)


@pytest.mark.unit
def test_a_worker_is_stalled_after_so_many_seconds_without_a_new_sign() -> None:
    watch = Watch(stall=10)
    for sign, stalled in [(ALIVE, False), (ALIVE, False), (LATER, False), (LATER, False), (LATER, True)]:
        watch.saw(sign, 6)
        assert watch.stalled is stalled


@pytest.mark.unit
def test_seconds_in_which_nobody_could_be_asked_prove_nothing() -> None:
    watch = Watch(stall=10)
    watch.saw(ALIVE, 1)
    watch.saw(ALIVE, 9)
    for _each in range(100):
        watch.could_not_look()
    assert not watch.stalled

    stalled = []
    for _each in range(2):  # it gets time after the database came back
        watch.saw(ALIVE, 4)
        stalled.append(watch.stalled)
    assert stalled == [False, True]


@pytest.mark.unit
def test_a_worker_may_take_longer_to_start_than_it_may_be_silent() -> None:
    watch = Watch(stall=2)
    for sign, seconds, stalled in [(None, 25, False), (STARTED, 1, False), (STARTED, 3, False), (STARTED, 3, True)]:
        watch.saw(sign, seconds)
        assert watch.stalled is stalled
    assert not watch.alive


@pytest.mark.unit
def test_the_pauses_grow_up_to_a_minute() -> None:
    assert [pause(n) for n in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@pytest.fixture
def handlers() -> Iterator[None]:
    """The supervisor takes signals for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Toy:
    """A worker that notes its starts in a file and then does what the test wants; signs are what the test says."""

    def __init__(self, log: Path, body: Callable[[int], int], signs: Callable[[int], Sign | None]) -> None:
        self.log, self.body, self.signs = log, body, signs
        self.supervisor = Supervisor(self.carry_out, stall=1.0, grace=1.0)

    def carry_out(self, _name: str, restarts: int) -> int:
        with self.log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        return self.body(restarts)

    def starts(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def run(self, until: Callable[[], bool]) -> int:
        """As long as the test needs; the request to stop comes as from a signal."""

        def stop() -> None:
            while not until():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=stop, daemon=True)
        thread.start()
        code = self.supervisor.run()
        thread.join()
        return code


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handlers: None) -> Callable[..., Toy]:
    def make(body: Callable[[int], int], signs: Callable[[int], Sign | None]) -> Toy:
        made = Toy(tmp_path / "starts", body, signs)
        monkeypatch.setattr(canary, "reach", lambda: None)
        monkeypatch.setattr(canary, "look", lambda _name, _pid: made.signs(len(made.starts())))
        return made

    return make


def sleep(_restarts: int) -> int:
    time.sleep(60)
    return 0


def fresh(_starts: int) -> Sign:
    return Sign(dt.datetime.now(dt.UTC), True)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.faults
def test_a_worker_that_cannot_start_ends_the_supervisor_with_its_code(toy: Callable[..., Toy]) -> None:
    made = toy(lambda _restarts: 3, lambda _starts: None)

    assert made.supervisor.run() == 3
    assert len(made.starts()) == 1


@pytest.mark.faults
def test_a_stalled_worker_is_ended_with_all_it_forked_and_started_anew(toy: Callable[..., Toy], tmp_path: Path) -> None:
    def fork_and_sleep(restarts: int) -> int:
        if os.fork() == 0:
            (tmp_path / f"forked{restarts}").write_text(str(os.getpid()))
        return sleep(restarts)

    made = toy(fork_and_sleep, lambda starts: ALIVE if starts == 1 else fresh(starts))
    made.run((tmp_path / "forked1").exists)

    first, second = made.starts()
    assert first != second
    assert within(5, lambda: all(gone(pid) for pid in (first, int((tmp_path / "forked0").read_text()))))


@pytest.mark.faults
def test_a_worker_that_worked_and_died_is_started_at_once(toy: Callable[..., Toy]) -> None:
    def die(_restarts: int) -> int:
        time.sleep(0.6)
        return 137

    made = toy(die, fresh)
    made.run(lambda: len(made.starts()) >= 4)

    assert len(made.starts()) >= 4


@pytest.mark.faults
def test_a_database_that_is_away_kills_no_worker(toy: Callable[..., Toy]) -> None:
    asked: list[float] = []

    def away(_starts: int) -> Sign:
        asked.append(time.monotonic())
        if len(asked) < 3:
            return ALIVE
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    made = toy(sleep, away)
    made.run(lambda: len(asked) > 16)

    assert len(made.starts()) == 1


@pytest.mark.faults
def test_a_worker_that_does_not_stop_is_ended_after_a_grace(toy: Callable[..., Toy]) -> None:
    def deaf(restarts: int) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return sleep(restarts)

    made = toy(deaf, fresh)
    code = made.run(lambda: bool(made.starts()))

    (pid,) = made.starts()
    assert code == 1
    assert gone(pid)


@pytest.mark.faults
def test_a_worker_that_stops_when_asked_ends_well(toy: Callable[..., Toy]) -> None:
    def obedient(_restarts: int) -> int:
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_args: asked.set())
        return 0 if asked.wait(60) else 1

    made = toy(obedient, fresh)

    assert made.run(lambda: within(0.5, lambda: False) or bool(made.starts())) == 0


@pytest.mark.faults
def test_a_group_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def supervise() -> None:
        Group.start(lambda: (bool(told.write_text(str(os.getpid()))) and sleep(0)) or 0)
        time.sleep(60)

    starter = os.fork()
    if starter == 0:
        with suppress(BaseException):
            supervise()
        os._exit(1)
    assert within(10, lambda: told.exists() and bool(told.read_text()))
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)

    assert within(5, lambda: gone(int(told.read_text())))


@pytest.mark.faults
def test_where_the_kernel_does_not_tell_of_a_dead_parent_a_thread_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LINUX", False)
    test_a_group_ends_when_its_starter_is_killed(tmp_path)


# -- a real worker ---------------------------------------------------------------------------------------------------


class Worker:
    """`syncline worker` in a process of its own."""

    def __init__(self, database_url: str, errors: Path) -> None:
        environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}
        environment["SYNCLINE_STALL_SECONDS"] = "3"
        command = [sys.executable, "-m", "syncline.cli", "worker"]
        self.errors = errors
        with errors.open("w") as written:
            self.process = subprocess.Popen(command, env=environment, stderr=written, stdin=subprocess.DEVNULL)

    def roles(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(child.name().removeprefix(processes.PREFIX), []).append(child)
        return found

    def complete(self) -> bool:
        return {role: len(them) for role, them in self.roles().items()} == {
            "cluster": 1, "guard": 1, "worker": 2, "monitor": 1, "pusher": 1,
        }  # fmt: skip

    def lives(self) -> bool:
        """A new sign came, and every process is there."""
        before = WorkerCanary.objects.get().beat_at
        return within(30, lambda: self.complete() and WorkerCanary.objects.get().beat_at > before + dt.timedelta(seconds=1.2))

    def log(self) -> str:
        return self.errors.read_text()


@pytest.fixture
def worker(transactional_db: None, database_url: str, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(database_url, tmp_path / "errors")
    try:
        assert within(30, lambda: WorkerCanary.objects.exists() and made.complete()), made.log()
        yield made
    finally:
        made.process.kill()
        made.process.wait()


@pytest.mark.faults
def test_a_worker_lives_on_whichever_of_its_processes_is_killed(worker: Worker) -> None:
    assert worker.lives(), worker.log()
    for role in ("worker", "monitor", "pusher", "guard", "cluster"):
        killed = worker.roles()[role]
        for process in killed:
            process.kill()
        assert within(5, lambda killed=killed: all(gone(one.pid) for one in killed))  # type: ignore[misc]
        assert worker.lives(), f"{role}: {worker.log()}"
    assert WorkerCanary.objects.get().restarts >= 2, worker.log()


@pytest.mark.faults
def test_a_frozen_worker_is_started_anew_and_nothing_outlives_the_supervisor(worker: Worker) -> None:
    cluster = worker.roles()["cluster"][0].pid
    os.killpg(cluster, signal.SIGSTOP)
    assert within(30, lambda: worker.complete() and worker.roles()["cluster"][0].pid != cluster), worker.log()
    assert "gave no sign of life" in worker.log()
    left = [one.pid for them in worker.roles().values() for one in them]

    worker.process.kill()
    worker.process.wait()

    assert within(10, lambda: all(gone(pid) for pid in left))


@pytest.mark.faults
def test_a_worker_that_is_asked_to_stop_is_not_listed_any_more(worker: Worker) -> None:
    worker.process.terminate()

    assert worker.process.wait(40) == 0, worker.log()
    assert not WorkerCanary.objects.exists()


@pytest.mark.faults
def test_a_worker_for_a_database_without_tables_ends_and_says_what_to_do(database_url: str) -> None:
    empty = make_conninfo(database_url, dbname=f"{TEST_PREFIX}{os.getpid()}_empty")
    ensure_database(empty, fresh=True)
    environment = {**os.environ, "DATABASE_URL": empty, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}
    command = [sys.executable, "-m", "syncline.cli", "worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    with admin_connection(empty) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(conninfo_to_dict(empty)["dbname"]))))

    assert done.returncode == 1
    assert "Run: syncline manage migrate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.unit
def test_the_supervisor_loads_no_apps() -> None:
    code = """if True:
        import sys, syncline.supervisor
        from django.apps import apps
        sys.exit(apps.ready or "django_q" in sys.modules or "syncline.runs" in sys.modules)
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}

    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
