"""The books of the events notice what they are for: a loss, an effect too many, an order that was not kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.events.books import Effect, Event, Kept, Told, judged, repeated

pytestmark = pytest.mark.unit
ON, OFF = {"SKU1": True}, {"SKU1": False}
GOOD = Kept(
    source=1,
    acknowledged=4,
    stored=4,
    events=[Event(1, "a", ON), Event(2, "b", ON), Event(3, "a", ON), Event(4, "a", OFF)],
    outgoing={1: "published", 2: "published", 3: "unchanged", 4: "published"},
    topic=[
        Told(0, 0, "1:1", "a", 1),
        Told(0, 1, "1:4", "a", 4),
        Told(0, 2, "1:1", "a", 1),  # sent again, as may be
        Told(1, 0, "1:2", "b", 2),
    ],
    effects=[Effect("a", "1:1"), Effect("b", "1:2"), Effect("a", "1:4")],
    history=[Effect("a", "1:1", "SKU1"), Effect("b", "1:2", "SKU1"), Effect("a", "1:4", "SKU1")],
    read=4,
)


def test_good_books_are_quiet() -> None:
    assert judged(GOOD).all == []
    assert repeated(GOOD) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (replace(GOOD, acknowledged=5), "5 deliveries were acknowledged, and 4 are here"),
        (replace(GOOD, outgoing={1: "published", 2: "published", 3: "unchanged"}), "event 4 is not to be passed on"),
        (replace(GOOD, read=3), "3 messages were read of 4 in the topic"),
        (replace(GOOD, outgoing={**GOOD.outgoing, 2: "waiting"}), "event 2 is waiting"),
        (replace(GOOD, outgoing={**GOOD.outgoing, 2: "refused"}), "event 2 is refused"),
        (replace(GOOD, topic=GOOD.topic[:3], read=3), "event 2 is said to be in the topic and is not"),
        (replace(GOOD, outgoing={**GOOD.outgoing, 4: "unchanged"}), "event 4 says something new of a and went no further"),
    ],
)
def test_a_loss(bad: Kept, said: str) -> None:
    assert judged(bad).losses == [said]
    assert judged(bad).all == [said]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (replace(GOOD, read=5), "5 messages were read of 4 in the topic"),
        (replace(GOOD, effects=[*GOOD.effects, GOOD.effects[-1]]), "effect of message 1:4 on a is there 2 times"),
        (replace(GOOD, history=[*GOOD.history, GOOD.history[-1]]), "change SKU1 of message 1:4 on a is there 2 times"),
    ],
)
def test_something_that_happened_twice(bad: Kept, said: str) -> None:
    assert judged(bad).doubles == [said]
    assert judged(bad).all == [said]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            replace(GOOD, topic=[Told(0, 0, "1:4", "a", 4), Told(0, 1, "1:1", "a", 1), *GOOD.topic[2:]]),
            "in the topic 1:1 of a comes after 1:4",
        ),
        (
            replace(GOOD, topic=[GOOD.topic[0], Told(2, 0, "1:4", "a", 4), *GOOD.topic[2:]]),
            "a is in two partitions of the topic",
        ),
        (
            replace(GOOD, effects=[GOOD.effects[2], GOOD.effects[1], GOOD.effects[0]]),
            "the effect of 1:1 on a came after that of 4",
        ),
        (
            replace(GOOD, history=[GOOD.history[2], GOOD.history[1], GOOD.history[0]]),
            "the change of 1:1 on a came after that of 4",
        ),
    ],
)
def test_an_order_that_was_not_kept(bad: Kept, said: str) -> None:
    assert judged(bad).disorder == [said]
    assert judged(bad).all == [said]
