"""The broker of a test session: one for all its workers, started by the first test that wants it, gone with the last process.

Every process of the session holds a shared lock on a file; the broker's own process waits for that lock, so that a killed
session leaves no broker behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.services.kafka.jars import NoJars, jars, state


@dataclass(frozen=True, slots=True)
class Kafka:
    """A broker to test against. `sasl_servers`: where it wants a user and a password, "" when it has no such place.

    `name`: which one it is, and why it is not Apache Kafka if it is not. `apache`: it is, or was given as such.
    """

    servers: str
    name: str
    apache: bool
    sasl_servers: str = ""
    username: str = ""
    password: str = ""


class BrokerNeeded(RuntimeError):
    """The run demands Apache Kafka, and it could not be had."""


def given() -> Kafka | None:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    return Kafka(servers, "the one that KAFKA_BOOTSTRAP_SERVERS names", apache=True) if servers else None


def start(*arguments: str) -> tuple[subprocess.Popen[str], Kafka]:
    """A sandbox process with a broker: Apache Kafka, or where that cannot be had and is not demanded, noida-db."""
    try:
        folder, instead = [str(jars())], ""
    except NoJars as why:
        if os.environ.get("SYNCLINE_BROKER") == "apache":
            raise BrokerNeeded(f"SYNCLINE_BROKER=apache wants Apache Kafka, but {why}.") from why
        folder, instead = [], f", because {why}"
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_JARS"}
    command = [sys.executable, "-m", "syncline_kafka.sandbox", *arguments, *(["--jars", *folder] if folder else [])]
    # a session of its own: ^C is for the tests, the broker ends with them
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    with process.stdout or contextlib.nullcontext() as output:
        line = output.readline() if output else ""
    if not line:
        raise RuntimeError(f"The broker ended with code {process.wait()} before it answered; its message stands above.")
    told = json.loads(line)
    sasl = {name: told.get(name, "") for name in ("sasl_servers", "username", "password")}
    return process, Kafka(told["bootstrap_servers"], told["broker"] + instead, apache=bool(folder), **sasl)


class Session:
    """The part that each process of a test session plays; `SYNCLINE_TEST_ID` says which session it is."""

    def __init__(self, name: str, home: Path | None = None) -> None:
        self.folder = (home or state() / "kafka") / f"session-{name}"
        self._ready = self.folder / "ready.json"

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """As long as one process is inside, the broker lives once it was started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "users.lock").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            yield

    def kafka(self) -> Kafka:
        """The broker, started now if it was not yet. Only inside `joined`."""
        if found := given():
            self._ready.write_text(json.dumps(asdict(found)))
            return found
        with (self.folder / "gate.lock").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            return self.used() or self._start()

    def used(self) -> Kafka | None:
        """The broker if a test has wanted one."""
        return Kafka(**json.loads(self._ready.read_text())) if self._ready.exists() else None

    def clear(self) -> None:
        """Away with the notes of sessions that have ended, however they did."""
        for folder in self.folder.parent.glob("session-*"):
            if not _in_use(folder / "users.lock"):
                shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> Kafka:
        process, found = start("--users", str(self.folder / "users.lock"))
        process.wait()  # its child is the broker's process
        self._ready.write_text(json.dumps(asdict(found)))
        return found


def _in_use(users: Path) -> bool:
    if not users.exists():
        return False
    with users.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
