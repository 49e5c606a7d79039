"""Starts, kills and stops a broker of our own on loopback. Its data stay in its folder, so that a killed one can go on."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import random
import shutil
import socket
import subprocess
import time
import uuid
from importlib.metadata import version
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

START_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
USER, PASSWORD = "sandbox", "sandbox-secret"
SMALL_JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
#: Kills a process once the pipe to us is closed, however we ended: a broker never outlives who started it.
MINDER = 'read -r _; kill -9 "$0" 2>/dev/null'


class BrokerError(RuntimeError):
    """The broker could not be started; the message says why and what to do."""


class DidNotStart(BrokerError):
    """It ended or did not answer in time; the end of its log is in the message."""


class Broker:
    """One broker with its data in `home`. Making the object starts nothing. `port` 0 takes a free one, once for all starts."""

    name = "broker"
    sasl_servers = ""

    def __init__(self, home: Path, port: int = 0) -> None:
        self.home = home.resolve()
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._minder: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """The argv of the server; prepares its folder."""
        raise NotImplementedError

    def start(self) -> None:
        """Gives back when the broker answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with (self.home / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._minder = subprocess.Popen(
            ["/bin/sh", "-c", MINDER, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_for_answer(self._process)

    def kill(self) -> None:
        """As a crash does: nothing is flushed or said good-bye to."""
        self._end(kill=True)

    def stop(self) -> None:
        self._end(kill=False)

    def wait(self) -> int:
        """Until the broker ends by itself; its exit code."""
        return self._process.wait() if self._process else 0

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._dismiss_minder()
        process.kill() if kill else process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _dismiss_minder(self) -> None:
        """First, so that it never strikes a process that got the pid anew."""
        minder, self._minder = self._minder, None
        if minder is None:
            return
        minder.kill()
        minder.wait()
        if minder.stdin:
            minder.stdin.close()

    def _wait_for_answer(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_WITHIN_S
        while not answers(self.servers):
            if process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise DidNotStart(f"{self.name} did not start in {self.home}. The end of its log:\n{self._log_tail()}")
            time.sleep(0.1)

    def _log_tail(self) -> str:
        return (self.home / "broker.log").read_text(errors="replace")[-3000:]


class ApacheKafka(Broker):
    """Apache Kafka in KRaft mode, broker and controller in one process, from a folder of its jars.

    Besides `servers`, which ask for no log-in, `sasl_servers` want USER and PASSWORD (SASL_PLAINTEXT, PLAIN).
    """

    def __init__(self, jars: Path, home: Path, port: int = 0) -> None:
        super().__init__(home, port)
        found = next(jars.glob("kafka_2.13-*.jar"), None)
        if found is None:
            raise BrokerError(f"No kafka_2.13-….jar is in {jars}. Set KAFKA_JARS to the folder `libs` of an Apache Kafka 4.")
        self.jars = jars.resolve()
        self.name = f"Apache Kafka {found.stem.removeprefix('kafka_2.13-')}"
        self.sasl_servers = f"127.0.0.1:{free_port()}"
        self._controller = free_port()

    def command(self) -> list[str]:
        (self.home / "server.properties").write_text(self._properties())
        if not (self.home / "made").exists():
            self._format()
        return self._java("kafka.Kafka", str(self.home / "server.properties"))

    def _format(self) -> None:
        shutil.rmtree(self.home / "data", ignore_errors=True)  # a half-made one
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        arguments = ("format", f"--cluster-id={cluster}", "-c", str(self.home / "server.properties"))  # it may begin with "-"
        done = subprocess.run(self._java("kafka.tools.StorageTool", *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"{self.name} could not make its storage in {self.home}: {(done.stderr or done.stdout)[-2000:]}")
        (self.home / "made").touch()

    def _java(self, main: str, *arguments: str) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise BrokerError("Apache Kafka needs Java 17 or newer: `java` is not on the PATH.")
        return [java, *SMALL_JVM, "-cp", f"{self.jars}/*", main, *arguments]

    def _properties(self) -> str:
        listeners = f"PLAINTEXT://{self.servers},SASL_PLAINTEXT://{self.sasl_servers}"
        login = "org.apache.kafka.common.security.plain.PlainLoginModule"
        known = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} required user_{USER}="{PASSWORD}";',
            "log.dirs": self.home / "data",
            "auto.create.topics.enable": "false",
            "num.partitions": 1,
            "log.cleaner.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in known.items())


class NoidaDb(Broker):
    """The broker of the `noida-db` wheel: for a quick start without Java. It does not prove durability."""

    def __init__(self, home: Path, port: int = 0) -> None:
        super().__init__(home, port)
        spec = importlib.util.find_spec("noida_db")
        if spec is None or spec.origin is None:
            raise BrokerError(
                "There is no broker to start: pip install noida-db for a small one, or set KAFKA_JARS to the folder `libs` of an "
                "Apache Kafka 4 (with Java 17)."
            )
        self._program = Path(spec.origin).parent / "noida-db"
        self.name = f"noida-db {version('noida-db')}"

    def command(self) -> list[str]:
        start = ("start", "--only", "kafka", "--kafka-port", str(self.port))
        return [str(self._program), *start, "--data-dir", str(self.home / "data")]


def broker(home: Path, port: int = 0, jars: Path | None = None) -> Broker:
    """Apache Kafka where its jars are given, else noida-db. Raises BrokerError when there is neither."""
    return ApacheKafka(jars, home, port) if jars else NoidaDb(home, port)


def answers(servers: str) -> bool:
    with contextlib.suppress(KafkaException):
        client = AdminClient({"bootstrap.servers": servers, "log_level": 0, "reconnect.backoff.max.ms": 200})
        return bool(client.list_topics(timeout=2).brokers)
    return False


def free_port() -> int:
    """Below those that systems hand out to clients: a server takes seconds to bind it, and somebody connects every moment."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
