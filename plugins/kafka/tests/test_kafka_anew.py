"""Which topic a position belongs to when another one has its name by now. The broker is played and tells ids at will."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import pytest
from confluent_kafka import KafkaError
from syncline.contract import HeaderAuth, Http, ObjectType, Page, PullRequest, Session
from syncline_kafka import pull as pulling

TOPIC = ObjectType("t", "t", (), {}, log=True)


@dataclass(frozen=True)
class Out:
    """What the client hands over where a place is not there."""

    code: int

    def error(self) -> KafkaError:
        return KafkaError(self.code)

    def topic(self) -> str:
        return TOPIC.key


@dataclass
class Broker:
    """Tells `ids` in turn, the last one again and again. `out`: what has happened when our place is refused, once."""

    ids: list[str]
    bounds: tuple[int, int]
    out: Callable[[Broker], None] | None = None
    placed: list[int] = field(default_factory=list)

    def partitions(self, *_: object) -> list[int]:
        return [0]

    def consumer(self, **_: object) -> Broker:
        return self

    def topic_id(self, _: str) -> str:
        return self.ids.pop(0) if len(self.ids) > 1 else self.ids[0]

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return self.bounds

    def assign(self, places: list[object]) -> None:
        self.placed += [place.offset for place in places]  # type: ignore[attr-defined]

    def poll(self, _: float) -> Out | None:
        happened, self.out = self.out, None
        if happened is None:
            return None
        happened(self)
        return Out(KafkaError.OFFSET_OUT_OF_RANGE)

    def consume(self, *_: object) -> list[Out]:
        return []

    def close(self) -> None:
        pass


def followed(broker: Broker, position: str, count: int, patch: pytest.MonkeyPatch) -> list[Page]:
    patch.setattr(pulling, "cluster", lambda _: broker)
    patch.setattr(pulling, "LOOK_S", 0.0)
    session = Session({}, Http(hosts=(), auth=HeaderAuth({})), "inst", logging.getLogger("test"))
    with closing(pulling.pull(session, TOPIC, PullRequest(("$",), position, "0", follow=True))) as pages:  # type: ignore[type-var]
        return list(islice(pages, count))


def test_a_topic_made_anew_that_refuses_our_place_is_read_from_its_beginning_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(broker: Broker) -> None:
        broker.bounds = (0, 2)

    broker = Broker(["old", "new"], (0, 5), shorter)
    pages = followed(broker, "5@old", 3, monkeypatch)
    assert [page.gap for page in pages] == ["The topic was made anew. Partition 0 is read from its beginning.", "", ""]
    assert ([page.position for page in pages], broker.placed) == (["0@new"] * 3, [5, 0])


def test_a_topic_made_anew_that_has_grown_past_the_place_it_refused_is_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(["old", "new"], (0, 5), lambda one: setattr(one, "bounds", (0, 9)))
    [page] = followed(broker, "5@old", 1, monkeypatch)
    assert (page.position, broker.placed) == ("0@new", [5, 0])


def test_a_place_refused_for_a_moment_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(["same"], (0, 5), lambda _: None)
    [page] = followed(broker, "5@same", 1, monkeypatch)
    assert (page.gap, page.position, broker.placed) == ("", "5@same", [5, 5])


def test_what_ends_before_our_place_and_tells_no_id_is_not_said_to_be_the_topic_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(["", "", "new"], (0, 2))
    first, *rest = followed(broker, "5@old", 4, monkeypatch)
    assert first.gap.startswith("Partition 0 ends at message 2, before 5")
    assert (first.position, [page.gap for page in rest]) == ("0", ["", "", ""])
    assert (rest[-1].position, broker.placed) == ("0@new", [0])
