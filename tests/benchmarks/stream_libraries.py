"""Other libraries that take a topic's messages into PostgreSQL, in the environment of `make bench-peers`, each in a process.

Both keep customers and licences up to date and their offsets in Kafka; neither keeps a history, says what became of a message,
or leaves out what is older than what it has. Their time begins with the first message that they handle.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import connection

from tests.benchmarks.peers import GET, HOME

HERE: Final = Path(__file__).parent / "stream_peers"


class Failed(RuntimeError):
    """A library did not take in what it was given."""


@dataclass(frozen=True, slots=True)
class Library:
    """`most`: messages that it is given. `tables`: what it writes, the customers first.
    `more`: further arguments."""

    name: str
    script: str
    package: str
    most: int
    tables: tuple[str, str]
    more: tuple[str, ...] = ()

    @property
    def there(self) -> bool:
        return any(HOME.glob(f"lib/python*/site-packages/{self.package}"))

    def per_second(self, servers: str, topic: str, messages: int, customers: int) -> float:
        """`customers`: how many there are in the end, if it is given all messages."""
        number = min(messages, self.most)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {', '.join(self.tables)}")
        command = [str(HOME / "bin" / "python"), str(HERE / self.script), servers, topic, str(number), *self.more]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        )
        if done.returncode:
            raise Failed(f"{self.name} ended with {done.returncode}: {done.stderr[-2000:]}")
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self.tables[0]}")
            written = cursor.fetchone()[0]
        if not written or (number == messages and written != customers):
            raise Failed(f"{self.name} wrote {written} customers: {done.stderr[-2000:]}")
        return number / float(done.stdout.strip().splitlines()[-1])


_QUIX: Final = ("quix.py", "quixstreams", 50_000, ("quix_customer", "quix_license"))
#: Writes as many together as we do at most, and, as it does by itself, whatever came within five seconds.
QUIX: Final = Library("quixstreams", *_QUIX, ("5000",))
QUIX_5S: Final = Library("quixstreams_every_5_s", *_QUIX, ("0",))
DJANGO: Final = Library("django_kafka", "django_kafka_peer.py", "django_kafka", 5_000, ("peer_customer", "peer_license"))
ALL: Final = (QUIX, QUIX_5S, DJANGO)


def left_out() -> dict[str, str]:
    missing = [library.name for library in ALL if not library.there]
    return {"left_out": f"{', '.join(missing)}: {GET}"} if missing else {}
