"""How long a batch waits for what its producer tells, when several threads share the producer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from syncline.contract import Change, Message, ObjectType, Op, Status
from syncline_kafka.cluster import Cluster
from syncline_kafka.push import Batch

pytestmark = pytest.mark.unit


class Place:
    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class Shared:
    """A producer whose answer another thread's poll is given while this one waits: the wait lasts as long as it was to."""

    def __init__(self) -> None:
        self.waited = 0.0
        self._told: Callable[..., None] | None = None

    def produce(self, *_: object, on_delivery: Callable[..., None], **__: object) -> None:
        self._told = on_delivery

    def poll(self, seconds: float) -> None:
        self.waited += seconds
        if seconds and self._told is not None:
            self._told(None, Place())
            self._told = None


def test_an_answer_that_another_thread_was_given_is_noticed_within_moments() -> None:
    producer = Shared()
    batch = Batch(cast(Cluster, None), cast(Any, producer), ObjectType("t", "t", (), {Op.CREATE: 500}, log=True))
    batch.send(Change("1", Op.CREATE, properties={"$": "{}"}, message=Message(key="k")), "here")
    batch.wait()
    assert batch.results["1"].status is Status.CREATED
    assert 0 < producer.waited <= 0.01
