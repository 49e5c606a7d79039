"""Everything that carries events, as an operator would have it: whatever ended is started anew, and all may be killed.

PostgreSQL and the broker are of its own, so that they can be ended without any warning too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from syncline import webserver as web
from syncline.localdb import LocalDatabase, ensure_database
from syncline_host import up
from syncline_kafka.sandbox.broker import ApacheKafka, Broker

from tests.chaos.house import NAME, ROOT, House

STREAMS = 2
RISES_AFTER = 0.5
"""Seconds after which a process that ended is started anew."""
STARTS_WITHIN = 120.0


@dataclass
class Service:
    """A command that is to run always."""

    argv: list[str]
    log: Path
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    ended: float = 0.0

    def tend(self, environment: Mapping[str, str]) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.process, self.ended = None, time.monotonic()
        if self.process is None and time.monotonic() - self.ended >= RISES_AFTER:
            self._start(environment)

    def _start(self, environment: Mapping[str, str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.pass_fds,
                start_new_session=True,
            )

    def below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True) if self.process else []
        return []

    def signal(self, number: signal.Signals) -> bool:
        """Whether there was a process to hear it."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(kw_only=True)
class Estate(House):
    """`listener`: where the web processes listen; it stays open, so that who posts waits for the next of them."""

    broker: Broker
    listener: socket.socket
    services: dict[str, Service] = field(default_factory=dict)
    _tending: threading.Thread | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def streams(self) -> list[Service]:
        return [one for name, one in self.services.items() if name.startswith("stream")]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "SYNCLINE_PUBLIC_URL": self.url, "SYNCLINE_LOG_LEVEL": "WARNING"}

    def open(self) -> None:
        """Web, worker and stream processes; back when the web processes answer."""
        bound = self.listener.fileno()
        mortal = ["tests.inbound.crashing" if word == "syncline_host.wsgi" else word for word in web.argv(f"fd://{bound}")]
        self.services["web"] = Service(mortal, self.state / "web.log", (bound,))
        for number in range(1, STREAMS + 1):
            command = [sys.executable, "-m", "syncline.cli", "stream"]
            self.services[f"stream{number}"] = Service(command, self.state / f"stream{number}.log")
        self.start(SYNCLINE_WORKERS="1", SYNCLINE_LOG_LEVEL="WARNING")
        self._tending = threading.Thread(target=self._tend)
        self._tending.start()
        _until_it_answers(f"{self.url}/healthz")

    def _tend(self) -> None:
        environment = {**self.environment(), "SYNCLINE_CRASH_AT": f"@{self.order}"}
        while not self._over.wait(0.1):
            for service in self.services.values():
                service.tend(environment)

    def close(self) -> None:
        self._over.set()
        if self._tending is not None:
            self._tending.join()
        for service in self.services.values():
            service.stop()
        self.bury_all()

    def restart_broker(self) -> None:
        """Killed, and started on what is on its disk."""
        self.broker.kill()
        self.broker.start()

    def logs(self) -> Iterator[Path]:
        yield from (one.log for one in self.services.values())
        yield from (one.log for one in (*self.workers, *self.buried))


def _until_it_answers(url: str) -> None:
    import urllib.request

    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError("The web processes did not answer in time.")


@contextlib.contextmanager
def opened(state: Path, jars: Path) -> Iterator[Estate]:
    """PostgreSQL and the broker run; the rest begins with `open`, when there are tables."""
    database, broker = LocalDatabase(state), ApacheKafka(jars, state / "kafka")
    starting = threading.Thread(target=broker.start)
    starting.start()
    with database.used(), contextlib.closing(up.listen()) as listener:
        ensure_database(database.url(NAME), fresh=True)
        estate = Estate(state, database.url(NAME), database=database, broker=broker, listener=listener)
        starting.join()
        try:
            yield estate
        finally:
            estate.close()
            broker.stop()
