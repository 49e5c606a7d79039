"""The local PostgreSQL: started by its first user, stopped by its last, whatever happens to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from syncline.localdb import LocalDatabase, LocalDatabaseError, drop_stale_test_databases, ensure_database, run

USER = """
import sys, time
from pathlib import Path
from syncline.localdb import LocalDatabase
with LocalDatabase(Path(sys.argv[1])).used():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server() -> Iterator[LocalDatabase]:
    """Not below pytest's own folder: each session that starts takes that one's permissions away for a moment, and a server that
    runs as another account with them."""
    state = Path(tempfile.mkdtemp(prefix="syncline-test-"))
    database = LocalDatabase(state)
    yield database
    shutil.rmtree(database.socket_dir, ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)


@contextmanager
def user(server: LocalDatabase) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server until its stdin is closed."""
    command = [sys.executable, "-c", USER, str(server.home.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "in\n"
        yield process


def stops(server: LocalDatabase) -> bool:
    deadline = time.monotonic() + 15
    while server.answers() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not server.answers()


def databases(server: LocalDatabase) -> set[str]:
    with psycopg.connect(server.url("postgres")) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.mark.faults
def test_the_last_user_out_stops_the_server(server: LocalDatabase) -> None:
    with server.used(), user(server) as other:
        assert server.answers()
        other.communicate()
        assert server.answers()
    assert stops(server)


@pytest.mark.faults
def test_a_user_killed_with_9_leaves_no_server_and_the_next_one_starts_it_again(server: LocalDatabase) -> None:
    with user(server) as only:
        only.send_signal(signal.SIGKILL)
    assert stops(server)

    with server.used():
        assert server.answers()


@pytest.mark.faults
def test_a_killed_user_does_not_take_the_server_from_another(server: LocalDatabase) -> None:
    with user(server) as first, user(server) as second:
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(0.5)
        assert server.answers()
        second.communicate()
    assert stops(server)


@pytest.mark.faults
def test_a_killed_server_is_started_again(server: LocalDatabase) -> None:
    with server.used():
        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        time.sleep(0.2)
        with user(server) as other:
            assert server.answers()
            other.communicate()


@pytest.mark.faults
def test_a_private_parent_folder_is_no_hindrance(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = LocalDatabase(private / "state")
    try:
        with server.used():
            assert server.answers()
    finally:
        shutil.rmtree(server.socket_dir, ignore_errors=True)


@pytest.mark.faults
def test_databases_of_dead_test_sessions_are_dropped_and_no_others(server: LocalDatabase) -> None:
    with server.used():
        for name in ("test_syncline_1_gw0", "testosyncline_1", "syncline"):
            ensure_database(server.url(name))
        drop_stale_test_databases(server.url("postgres"))
        assert {"testosyncline_1", "syncline"} <= databases(server)
        assert "test_syncline_1_gw0" not in databases(server)


@pytest.mark.faults
def test_a_fresh_database_is_empty(server: LocalDatabase) -> None:
    with server.used():
        for _twice in range(2):
            ensure_database(server.url("demo"), fresh=True)
            ensure_database(server.url("demo"))
            with psycopg.connect(server.url("demo")) as connection:
                connection.execute("CREATE TABLE only_once ()")


@pytest.mark.faults
def test_a_command_gets_the_database_and_its_exit_code_is_given_on(
    server: LocalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    program = "import os, psycopg, sys; sys.exit(psycopg.connect(os.environ['DATABASE_URL']).execute('select 7').fetchone()[0])"

    assert run(server.home.parent, [sys.executable, "-c", program], name="mine") == 7
    assert stops(server)


@pytest.mark.unit
def test_making_the_object_starts_nothing(tmp_path: Path) -> None:
    LocalDatabase(tmp_path).url()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
def test_the_socket_path_does_not_grow_with_the_checkout_and_ignores_tmpdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    before = LocalDatabase(deep).socket_dir
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    assert LocalDatabase(deep).socket_dir == before
    assert len(str(before / ".s.PGSQL.5432")) < 107


@pytest.mark.unit
def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    server = LocalDatabase(tmp_path)
    server.socket_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(LocalDatabaseError, match="belongs to somebody else"), server.used():
            pass
    finally:
        server.socket_dir.unlink()
