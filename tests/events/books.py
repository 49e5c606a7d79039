"""What must hold when everything has come to rest, whoever was killed meanwhile. Pure: `kept.py` collects what is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Of the inbox: a message about a customer."""

    id: int
    customer: str
    data: Any


@dataclass(frozen=True, slots=True)
class Told:
    """One message of the topic."""

    partition: int
    offset: int
    id: str
    customer: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a message changed of a customer here, in the order of writing."""

    customer: str
    message: str
    what: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """`acknowledged`: what the sender was told, `stored`: the deliveries that could be read. `outgoing`: event → state.

    `read`: how many messages the parts of the second sync say they have read.
    """

    source: int
    acknowledged: int
    stored: int
    events: Sequence[Event]
    outgoing: Mapping[int, str]
    topic: Sequence[Told]
    effects: Sequence[Effect]
    history: Sequence[Effect]
    read: int

    def name(self, event: int) -> str:
        return f"{self.source}:{event}"


@dataclass
class Verdict:
    losses: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.losses, *self.doubles, *self.disorder]


def judged(kept: Kept) -> Verdict:
    return Verdict(list(_losses(kept)), list(_doubles(kept)), list(_disorder(kept)))


def repeated(kept: Kept) -> int:
    """Messages that are in the topic more often than once, which they may be."""
    return len(kept.topic) - len({one.id for one in kept.topic})


def _losses(kept: Kept) -> Iterator[str]:
    if kept.stored < kept.acknowledged:
        yield f"{kept.acknowledged} deliveries were acknowledged, and {kept.stored} are here"
    if kept.read < len(kept.topic):
        yield f"{kept.read} messages were read of {len(kept.topic)} in the topic"
    there = {one.id for one in kept.topic}
    for event in kept.events:
        state = kept.outgoing.get(event.id)
        if state not in {"published", "unchanged"}:
            yield f"event {event.id} is {state or 'not to be passed on'}"
        elif state == "published" and kept.name(event.id) not in there:
            yield f"event {event.id} is said to be in the topic and is not"
    yield from _hidden(kept)


def _hidden(kept: Kept) -> Iterator[str]:
    """Events that went no further although they say something new."""
    latest: dict[str, Any] = {}
    for event in kept.events:
        if kept.outgoing.get(event.id) == "published":
            latest[event.customer] = event.data
        elif kept.outgoing.get(event.id) == "unchanged" and latest.get(event.customer) != event.data:
            yield f"event {event.id} says something new of {event.customer} and went no further"


def _doubles(kept: Kept) -> Iterator[str]:
    for what, effects in (("effect", kept.effects), ("change", kept.history)):
        for effect, times in Counter(effects).items():
            if times > 1:
                which = f"{what} {effect.what}".strip()
                yield f"{which} of message {effect.message} on {effect.customer} is there {times} times"
    if kept.read > len(kept.topic):
        yield f"{kept.read} messages were read of {len(kept.topic)} in the topic"


def _disorder(kept: Kept) -> Iterator[str]:
    seen: set[str] = set()
    latest: dict[str, Told] = {}
    for one in sorted(kept.topic, key=lambda told: (told.partition, told.offset)):
        if one.id in seen:
            continue
        seen.add(one.id)
        before = latest.get(one.customer)
        if before is not None and before.partition != one.partition:
            yield f"{one.customer} is in two partitions of the topic"
        elif before is not None and before.sequence > one.sequence:
            yield f"in the topic {one.id} of {one.customer} comes after {before.id}"
        latest[one.customer] = one
    yield from _backwards("the effect", kept.effects)
    yield from _backwards("the change", kept.history)


def _backwards(what: str, effects: Iterable[Effect]) -> Iterator[str]:
    latest: dict[str, int] = {}
    for effect in effects:
        number = int(effect.message.partition(":")[2])
        if number < latest.get(effect.customer, 0):
            yield f"{what} of {effect.message} on {effect.customer} came after that of {latest[effect.customer]}"
        latest[effect.customer] = number
