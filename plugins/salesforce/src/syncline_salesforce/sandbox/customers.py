"""Made-up customers whose products and terms change, and what some messages about them look like that went wrong. Pure."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FLAGS: Final = ("SignedTos", "SKU1", "SKU2", "SKU3")
PEOPLE: Final = ("Ada Byron", "Grace Hopper", "Zoë O’Neill", "Łukasz Żak", "Mary Jackson", "李 明")
#: Of those that are reordered, each comes as many places too late, at most.
LATE: Final = 5


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all messages, from 0 to 1: those that come twice, in another order than they happened, at once with others, broken."""

    duplicates: float = 0.0
    reordered: float = 0.0
    bursts: float = 0.0
    malformed: float = 0.0


@dataclass(slots=True)
class Customer:
    """Its `state` is the body of a message: PascalCase names, as the first system sent them."""

    state: dict[str, Any]
    last: bytes = b""


@dataclass(frozen=True, slots=True)
class Message:
    """`state`: what it says when it can be read, None when it is malformed. `pause`: none before it when it is of a burst."""

    body: bytes
    state: Mapping[str, Any] | None
    pause: bool = True
    again: bool = False


@dataclass(slots=True)
class Crowd:
    """Some customers and the messages about them; the same seed gives the same ones."""

    count: int
    shares: Shares
    seed: str
    _late: list[tuple[int, Message]] = field(default_factory=list)

    def messages(self) -> Iterator[Message]:
        """Without end."""
        chance = random.Random(self.seed)
        customers = [_customer(chance, number) for number in range(self.count)]
        burst = 0
        for number, customer in _first_each_then_any(chance, customers):
            burst = burst - 1 if burst else (chance.randint(5, 20) if chance.random() < self.shares.bursts / 12 else 0)
            message = self._next(chance, customer, pause=not burst)
            if chance.random() < self.shares.reordered:
                self._late.append((number + chance.randint(1, LATE), message))
            else:
                yield message
            yield from self._due(number)

    def _next(self, chance: random.Random, customer: Customer, *, pause: bool) -> Message:
        if chance.random() < self.shares.malformed:
            return Message(malformed(chance, customer.state), None, pause)
        if customer.last and chance.random() < self.shares.duplicates:
            return Message(customer.last, json.loads(customer.last), pause, again=True)
        if customer.last:
            change(chance, customer.state)
        customer.last = encoded(customer.state)
        return Message(customer.last, dict(customer.state), pause)

    def _due(self, number: int) -> Iterator[Message]:
        due = [message for place, message in self._late if place <= number]
        self._late = [(place, message) for place, message in self._late if place > number]
        yield from due


def _first_each_then_any(chance: random.Random, customers: list[Customer]) -> Iterator[tuple[int, Customer]]:
    yield from enumerate(customers)
    number = len(customers)
    while True:
        yield number, chance.choice(customers)
        number += 1


def _customer(chance: random.Random, number: int) -> Customer:
    return Customer(
        {
            "AccountManager": chance.choice(PEOPLE),
            "Id": _uuid(chance),
            "Name": f"customer{number}-{chance.randrange(10**6)}.example",
            "SalesEngineerId": _uuid(chance),
            **{name: chance.random() < 0.5 for name in FLAGS},
        }
    )


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def change(chance: random.Random, state: dict[str, Any]) -> None:
    """Mostly a product; at times the terms, or who looks after the customer."""
    if chance.random() < 0.1:
        state["AccountManager"] = chance.choice(PEOPLE)
    for name in chance.sample(FLAGS, chance.choice((1, 1, 1, 2))):
        state[name] = not state[name]


def encoded(state: Mapping[str, Any]) -> bytes:
    return json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode()


def malformed(chance: random.Random, state: Mapping[str, Any]) -> bytes:
    """What the connector cannot read, of one kind or another; each names the customer, who must not change by it."""
    whole = encoded(state)
    return chance.choice(
        (
            whole[: len(whole) // 2],
            b"[" * 5000,
            b"",
            b"\xff\xfe" + whole,
            b"Id=1&SKU1=true",
            b"[" + whole + b",1]",
            encoded({**state, "Id": None}),
            encoded({**state, "Id": " "}),
            encoded({name: value for name, value in state.items() if name != "Id"}),
            encoded({**state, "SKU1": "yes"}),
            encoded({**state, "SKU2": None}),
            encoded({**state, "SignedTos": 1}),
            encoded({**state, "Name": ["a"]}),
        )
    )
