"""Runs the sandbox as a process of its own: `python -m syncline_kafka.sandbox --port 0`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from .broker import PASSWORD, USER, Broker, BrokerError, DidNotStart, broker


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="syncline_kafka.sandbox", description="A local Kafka broker for trying and testing.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--home", type=Path, help="folder that keeps its data; else they go when it ends")
    parser.add_argument("--jars", type=Path, default=os.environ.get("KAFKA_JARS"), help="Apache Kafka's; default: KAFKA_JARS")
    parser.add_argument("--users", type=Path, help="end when nobody holds a shared lock on this file any more")
    return parser.parse_args()


def told(running: Broker) -> dict[str, object]:
    """What the JSON line says."""
    known: dict[str, object] = {
        "url": f"kafka://{running.servers}",
        "bootstrap_servers": running.servers,
        "broker": running.name,
        "pid": running.pid,
    }
    if running.sasl_servers:
        known |= {"sasl_servers": running.sasl_servers, "username": USER, "password": PASSWORD}
    return known


def _serve(given: argparse.Namespace, home: Path) -> int:
    running: Broker | None = None

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        running = _started(given, home)
        sys.stdout.write(json.dumps(told(running)) + "\n")
        sys.stdout.flush()
        if given.users:
            threading.Thread(target=_end_without, args=(given.users,), daemon=True).start()
        return running.wait()
    finally:
        if running:
            running.stop()


def _started(given: argparse.Namespace, home: Path) -> Broker:
    """Tried again where the ports are ours to choose: another one may have taken one meanwhile."""
    for _ in range(0 if given.port else 2):
        with contextlib.suppress(DidNotStart):
            return _start(broker(home, 0, given.jars))
    return _start(broker(home, given.port, given.jars))


def _start(one: Broker) -> Broker:
    one.start()
    return one


def _end_without(users: Path) -> None:
    with users.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGTERM)


def _detach() -> None:
    """Whoever started this may end first, and is not to wait for it."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> int:
    given = _arguments()
    if given.users:
        _detach()
    try:
        if given.home:
            return _serve(given, given.home)
        with tempfile.TemporaryDirectory(prefix="syncline-kafka-") as home:
            return _serve(given, Path(home))
    except BrokerError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    raise SystemExit(main())
