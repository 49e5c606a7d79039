"""Webhooks: what `parse` reads, what `acknowledge` answers, and that all of it is pure."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

from syncline.contract import Answer, Capability, Event, EventKind, Permanent, Receipt, Verification, WebhookRequest

from ..check import Breach, attempt, check, expect, told
from ..delivery import Delivery
from ..import_probe import NETWORK
from ..junk import junk, spoilt, weighed
from ..lab import Lab
from .webhook import key, now, offered

SECONDS = 2.0
MEGABYTES = 64
LONG_AGO = dt.datetime(2001, 9, 9, 1, 46, 40, tzinfo=dt.UTC)
TOLD = ("kind", "account", "object_type", "remote_id", "others")
IF_GIVEN = ("key", "occurred_at", "data")


def parsed(lab: Lab, request: WebhookRequest) -> Sequence[Event] | Exception:
    return attempt(lambda: list(lab.call.parse(request=request)))


def read(lab: Lab, delivery: Delivery, body: bytes | None = None) -> Sequence[Event]:
    """The events of a delivery that the vendor makes."""
    request = delivery.request(key(), now())
    got = parsed(lab, request if body is None else replace(request, body=body))
    if isinstance(got, Exception):
        raise Breach(f"A delivery as the vendor makes it ended in {told(got)}.")
    return got


@check("webhook-events", Capability.PARSE)
def webhook_events(lab: Lab) -> None:
    """`parse` gives every event of a delivery, in order: kind, account, object, record, and what else the target knows."""
    for delivery in offered(lab):
        got = read(lab, delivery)
        expect(len(got) == len(delivery.events), f"A delivery of {len(delivery.events)} events was read as {len(got)}.")
        for wanted, event in zip(delivery.events, got, strict=True):
            if wanted.kind is not EventKind.UNKNOWN:
                _alike(wanted, event)


def _alike(wanted: Event, event: Event) -> None:
    given = [name for name in IF_GIVEN if getattr(wanted, name)]
    differing = {n: (getattr(wanted, n), getattr(event, n)) for n in (*TOLD, *given) if getattr(wanted, n) != getattr(event, n)}
    expect(not differing, f"An event differs from the one told (told, read): {differing}.")


@check("webhook-unknown", Capability.PARSE)
def webhook_unknown(lab: Lab) -> None:
    """An event of a kind that the connector does not know is of kind UNKNOWN, and keeps its account."""
    wanted = [(d, i) for d in offered(lab) for i, event in enumerate(d.events) if event.kind is EventKind.UNKNOWN]
    expect(wanted, "None of the target's `webhooks` has an event of kind UNKNOWN: give one that nobody knows.")
    for delivery, place in wanted:
        got = read(lab, delivery)
        if len(got) == len(delivery.events):
            event, account = got[place], delivery.events[place].account
            expect(event.kind is EventKind.UNKNOWN, f"An event of a kind that nobody knows was read as {event.kind}.")
            expect(
                event.account == account,
                f"An event of account {account!r}, of an unknown kind, was read as of {event.account!r}.",
            )


@check("webhook-keys", Capability.PARSE)
def webhook_keys(lab: Lab) -> None:
    """An event that is delivered again has the same key, and no two events of a delivery share one."""
    for delivery in offered(lab):
        keys = [event.key for event in read(lab, delivery)]
        again = [event.key for event in read(lab, delivery, delivery.again or delivery.body)]
        expect(keys == again, f"The keys {keys} were {again} when the vendor delivered the events again.")
        shared = sorted({one for one in keys if one and keys.count(one) > 1})
        expect(not shared, f"Several events of one delivery have the key {shared}: all but one would be taken for repeated.")


@check("webhook-junk", Capability.PARSE)
def webhook_junk(lab: Lab) -> None:
    """A body that cannot be read is Permanent and nothing else, soon, and without unpacking or holding much of it."""
    for delivery in offered(lab):
        if not delivery.events:
            continue
        request = delivery.request(key(), now())
        packed = {**request.headers, "content-encoding": "gzip"}
        for what, body in junk(delivery.body):
            got, seconds, megabytes = weighed(partial(parsed, lab, replace(request, body=body, headers=packed)))
            expect(isinstance(got, Permanent), f"A body that is {what} gave {told(got)[:300]} instead of Permanent.")
            expect(seconds < SECONDS, f"A body that is {what} took {seconds:.1f} s.")
            expect(megabytes < MEGABYTES, f"A body that is {what} took {megabytes:.0f} MB of memory.")


@check("webhook-types", Capability.PARSE)
def webhook_types(lab: Lab) -> None:
    """JSON with parts missing or of other types than documented is Permanent, or events whose own parts have the right types."""
    for delivery in offered(lab):
        request = delivery.request(key(), now())
        for what, body in spoilt(delivery.body):
            got = parsed(lab, replace(request, body=body))
            if isinstance(got, Exception):
                expect(isinstance(got, Permanent), f"A body with {what} raised {told(got)}.")
            else:
                wrong = [event for event in got if not _typed(event)]
                expect(not wrong, f"A body with {what} was read as an event with a part of a wrong type: {wrong[:1]}.")


def _typed(event: Event) -> bool:
    texts = (event.key, event.account, event.object_type, event.remote_id, *event.others)
    moment = event.occurred_at
    return (
        isinstance(event.kind, EventKind)
        and all(isinstance(text, str) for text in texts)
        and (moment is None or (isinstance(moment, dt.datetime) and moment.tzinfo is not None))
    )


@check("webhook-answer", Capability.ACKNOWLEDGE)
def webhook_answer(lab: Lab) -> None:
    """A stored delivery is answered with 2xx and its challenge, if `answers_unread` whatever it tells; others are not."""
    for delivery in offered(lab):
        request = delivery.request(key(), now())
        said = {receipt: _answer(lab, request, delivery.events, receipt) for receipt in Receipt}
        for receipt in (Receipt.STORED, Receipt.REFUSED, Receipt.FAILED):
            good = 200 <= said[receipt].status < 300
            expect(good == (receipt is Receipt.STORED), f"A delivery that was {receipt} is answered with {said[receipt].status}.")
        expect(delivery.challenge in said[Receipt.STORED].body, f"The challenge {delivery.challenge!r} is not in the answer.")
        told_anyway = delivery.challenge and delivery.challenge in said[Receipt.REFUSED].body
        expect(not told_anyway, "A delivery that is not genuine gets its challenge back.")
        if lab.info.answers_unread:
            unread = [_answer(lab, request, (), receipt) for receipt in (Receipt.STORED, Receipt.UNREADABLE)]
            expect(unread == [said[Receipt.STORED]] * 2, "`answers_unread` is promised, but the answer depends on what was read.")
        strange = replace(request, headers={}, body=b"\xff\x00", url="https://syncline.example/in/k3y?%FF=%00&challenge")
        for receipt in Receipt:
            _answer(lab, strange, (), receipt)


def _answer(lab: Lab, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
    got = attempt(partial(lab.call.acknowledge, request=request, events=events, receipt=receipt))
    if not isinstance(got, Answer):
        raise Breach(f"`acknowledge` of a delivery that was {receipt} gave {told(got)}.")
    expect(isinstance(got.body, bytes) and 200 <= got.status < 600, f"`acknowledge` gave {got}, which is no answer of HTTP.")
    return got


@check("webhook-pure", Capability.VERIFY, Capability.PARSE, Capability.ACKNOWLEDGE)
def webhook_pure(lab: Lab) -> None:
    """`verify`, `parse` and `acknowledge` call nobody, and know no time but `received_at`: a stored delivery can be replayed."""
    for delivery in offered(lab):
        secret = key()
        request = delivery.request(secret, LONG_AGO)
        word = _twice("verify", lambda: lab.call.verify(request=request, secrets=[secret]))  # noqa: B023 - called here
        expect(word is Verification.GENUINE, f"Signed and received in 2001, a delivery is {told(word)}.")
        _twice("parse", lambda: list(lab.call.parse(request=request)))  # noqa: B023
        _twice("acknowledge", partial(lab.call.acknowledge, request=request, events=(), receipt=Receipt.STORED))


def _twice(name: str, call: Callable[[], object]) -> object:
    with watched() as touched:
        first, second = attempt(call), attempt(call)
    expect(not touched, f"`{name}` calls somebody: {sorted(set(touched))}.")
    expect(isinstance(first, Exception) or first == second, f"`{name}` gave {first} and then {second} for the same.")
    return first


_WATCHED = threading.local()


@contextmanager
def watched() -> Iterator[list[str]]:
    """What this thread does on the network inside the block."""
    _listen()
    touched: list[str] = []
    _WATCHED.events = touched
    try:
        yield touched
    finally:
        _WATCHED.events = None


@cache
def _listen() -> None:
    """Once for the process: an audit hook stays for good."""
    sys.addaudithook(_note)


def _note(event: str, _: tuple[Any, ...]) -> None:
    if event in NETWORK and (events := getattr(_WATCHED, "events", None)) is not None:
        events.append(event)
