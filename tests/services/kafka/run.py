"""Runs a command with a broker: `python -m tests.services.kafka.run -- command …`.

The command finds it by KAFKA_BOOTSTRAP_SERVERS, and its name for people by SYNCLINE_BROKER_NAME. A broker that is named by
KAFKA_BOOTSTRAP_SERVERS already is used as it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.services.kafka.service import Kafka, given, start


def main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        raise SystemExit("Which command? python -m tests.services.kafka.run -- command …")
    if found := given():
        return _run(command, found)
    broker, found = start()
    try:
        return _run(command, found)
    finally:
        broker.terminate()
        broker.wait()


def _run(command: list[str], kafka: Kafka) -> int:
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.servers, "SYNCLINE_BROKER_NAME": kafka.name}
    child = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends ^C to the child as well
    signal.signal(signal.SIGTERM, lambda number, _frame: child.send_signal(number))
    return child.wait()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
