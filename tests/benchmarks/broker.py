"""The broker of the benchmarks that need one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.services.kafka.service import Kafka, given, start


@contextmanager
def broker() -> Iterator[Kafka]:
    """The one that is given, or one that ends with the benchmark."""
    if found := given():
        yield found
        return
    process, found = start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait()
