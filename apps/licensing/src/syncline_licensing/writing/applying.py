"""What a message changes of its customer, in memory. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from syncline.contract import Code, Status

from .reading import MOST_FLAGS, Refused, Told, looks_like_sku

#: A message that says it is older has a clock that was never set.
OLDEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Licence(NamedTuple):
    """As a batch leaves it."""

    active: bool
    since: dt.datetime
    until: dt.datetime | None
    event: str


class Happened(NamedTuple):
    """One row of the history. `sku`: None for the terms."""

    customer: int
    sku: int | None
    active: bool
    at: dt.datetime
    sequence: int | None
    event: str


@dataclass(slots=True)
class Customer:
    """`last_seen`: None until a message was applied. `held`: product → since when it is licensed.

    What the batch changes: `terms_since`, if they were signed by it; `first_seen`, if it has the first message; `last_event`, and
    `licences`, by product.
    """

    id: int
    texts: dict[str, str]
    signed: bool
    flags: dict[str, bool]
    sequence: int | None
    last_seen: dt.datetime | None
    held: dict[int, dt.datetime] = field(default_factory=dict)
    terms_since: dt.datetime | None = None
    first_seen: dt.datetime | None = None
    last_event: str = ""
    licences: dict[int, Licence] = field(default_factory=dict)
    touched: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """`skus`: code → key of the active products; `known`: codes of all."""

    now: dt.datetime
    skus: Mapping[str, int]
    known: frozenset[str]


@dataclass(slots=True)
class Outcome:
    """What comes of a whole batch besides the customers themselves. `unknown`: code → how often it was told anew."""

    history: list[Happened] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)


def apply(customer: Customer, told: Told, world: World, outcome: Outcome) -> Status:
    if told.sequence is not None and customer.sequence is not None and told.sequence <= customer.sequence:
        return Status.UNCHANGED
    if len(customer.flags) + len(told.flags) > MOST_FLAGS and len(customer.flags.keys() | told.flags.keys()) > MOST_FLAGS:
        raise Refused(
            Code.TOO_LONG, f"The customer has more than {MOST_FLAGS} flags by now. Correct whoever sends them.", "flags"
        )
    at, first = plausible(told.at, world.now, customer.last_seen), customer.last_seen is None
    changed = _change(customer, told, world, outcome, at)
    customer.touched = True
    customer.sequence = customer.sequence if told.sequence is None else told.sequence
    customer.last_event, customer.last_seen = told.event, at
    if first:
        customer.first_seen = at
    return Status.CREATED if first else Status.UPDATED if changed else Status.UNCHANGED


def plausible(at: dt.datetime | None, now: dt.datetime, last: dt.datetime | None) -> dt.datetime:
    """Neither to come, nor from before the clock was set, nor from before the message that came before."""
    found = now if at is None or at > now or at < OLDEST else at
    return found if last is None else max(found, last)


def _change(customer: Customer, told: Told, world: World, outcome: Outcome, at: dt.datetime) -> bool:
    texts = _new_texts(customer, told)
    terms = _terms(customer, told, outcome, at)
    if not told.flags.items() <= customer.flags.items():
        _note_unknown(customer, told, world, outcome)
        customer.flags.update(told.flags)
        texts = True
    return _licences(customer, told, world, outcome, at) or terms or texts


def _new_texts(customer: Customer, told: Told) -> bool:
    if told.texts.items() <= customer.texts.items():
        return False
    customer.texts.update(told.texts)
    return True


def _terms(customer: Customer, told: Told, outcome: Outcome, at: dt.datetime) -> bool:
    if told.signed is None or told.signed == customer.signed:
        return False
    customer.signed, customer.terms_since = told.signed, at if told.signed else None
    outcome.history.append(Happened(customer.id, None, told.signed, at, told.sequence, told.event))
    return True


def _licences(customer: Customer, told: Told, world: World, outcome: Outcome, at: dt.datetime) -> bool:
    changed = False
    for code, wanted in told.flags.items():
        sku = world.skus.get(code)
        if sku is None or wanted == (sku in customer.held):
            continue
        if wanted:
            customer.held[sku] = at
        since = at if wanted else customer.held.pop(sku)
        customer.licences[sku] = Licence(wanted, since, None if wanted else at, told.event)
        outcome.history.append(Happened(customer.id, sku, wanted, at, told.sequence, told.event))
        changed = True
    return changed


def _note_unknown(customer: Customer, told: Told, world: World, outcome: Outcome) -> None:
    for name, value in told.flags.items():
        if name not in world.known and customer.flags.get(name) is not value and looks_like_sku(name):
            outcome.unknown[name] = outcome.unknown.get(name, 0) + 1
