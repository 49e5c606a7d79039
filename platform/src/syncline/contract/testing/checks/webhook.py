"""Webhooks: which deliveries `verify` takes for genuine."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from syncline.contract import Capability, Verification, WebhookRequest

from ..check import attempt, check, expect, told
from ..delivery import PARTS, Delivery
from ..lab import Lab

LONG = 100_000
GARBAGE = (
    "",
    " ",
    ",",
    "=",
    "t=,v1=",
    "null",
    "9" * 400,
    "-1",
    "1e400",
    "ünicode",
    "\x00",
    "é" * 64,
    "v1=" + "0" * 64,
    "a" * LONG,
)
MARGIN = dt.timedelta(minutes=1)
SEPARATORS = re.compile(r"([,;=\s])")


def offered(lab: Lab) -> tuple[Delivery, ...]:
    expect(lab.target.webhooks, "The target has no `webhooks`: say how the vendor delivers and signs.")
    for delivery in lab.target.webhooks:
        expect(delivery.signs <= PARTS, f"`signs` of a delivery names {sorted(delivery.signs - PARTS)}. Known: {sorted(PARTS)}.")
    return lab.target.webhooks


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def key() -> str:
    return secrets.token_hex(16)


def verdict(lab: Lab, request: WebhookRequest, *known: str) -> object:
    """The word, or the error that must not be."""
    return attempt(partial(lab.call.verify, request=request, secrets=list(known)))


@check("webhook-genuine", Capability.VERIFY)
def webhook_genuine(lab: Lab) -> None:
    """What the vendor signed with any of our secrets, and not too long ago, is GENUINE."""
    for delivery in offered(lab):
        old, new, other = key(), key(), key()
        for secret, known in ((new, [new]), (new, [new, old, other]), (old, [new, old, other]), (other, [new, old, other])):
            for one in (delivery.request(secret, now()), _aged(delivery, secret, MARGIN - _window(delivery))):
                place = f"{known.index(secret) + 1} of {len(known)}"
                got = verdict(lab, one, *known)
                expect(got is Verification.GENUINE, f"A delivery signed with secret {place} is {told(got)}.")


def _window(delivery: Delivery) -> dt.timedelta:
    return dt.timedelta(seconds=delivery.window) if "time" in delivery.signs else MARGIN


def _aged(delivery: Delivery, secret: str, by: dt.timedelta) -> WebhookRequest:
    """Received now, and signed earlier, or later."""
    return replace(delivery.request(secret, now() + by), received_at=now())


@check("webhook-forged", Capability.VERIFY)
def webhook_forged(lab: Lab) -> None:
    """Whatever of the signed parts is changed, by one byte, and whatever a secret that is not ours signed is FORGED."""
    for delivery in offered(lab):
        secret = key()
        genuine = delivery.request(secret, now())
        for what, forged in _forgeries(delivery, genuine, secret):
            got = verdict(lab, forged, secret)
            expect(got is Verification.FORGED, f"A delivery with {what} is {told(got)} instead of FORGED.")


def _forgeries(delivery: Delivery, genuine: WebhookRequest, secret: str) -> Iterator[tuple[str, WebhookRequest]]:
    yield "the signature of another secret", delivery.request(key(), genuine.received_at)
    if "body" in delivery.signs:
        yield "one byte more", replace(genuine, body=genuine.body + b" ")
        for place in {0, len(genuine.body) // 2, len(genuine.body) - 1} if genuine.body else ():
            yield f"byte {place} of the body changed", replace(genuine, body=_flipped(genuine.body, place))
    if "url" in delivery.signs:
        yield "another address", replace(genuine, url=genuine.url.replace("/in/", "/im/"))
        yield "more in its query", replace(genuine, url=genuine.url + "&more=1")
    if "method" in delivery.signs:
        yield "another method", replace(genuine, method="PUT")
    if "time" in delivery.signs:
        yield "another time", replace(genuine, headers={**genuine.headers, **_later_stamp(delivery, genuine, secret)})


def _flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _later_stamp(delivery: Delivery, genuine: WebhookRequest, secret: str) -> dict[str, str]:
    """The genuine headers, but for the time, which is a second on: what differs by the time and not by the secret."""
    onward = replace(genuine, received_at=genuine.received_at + dt.timedelta(seconds=1))
    these, others, next_ones = (delivery.signed(*by) for by in ((secret, genuine), (key(), genuine), (secret, onward)))
    stamped = {name: _mixed(these[name], others[name], next_ones[name]) for name in these}
    expect(stamped != these, "No header of a delivery tells when it was signed: leave `time` out of its `signs`.")
    return stamped


def _mixed(this: str, other: str, onward: str) -> str:
    parts = zip(*(SEPARATORS.split(text) for text in (this, other, onward)), strict=False)
    return "".join(later if mine == by_other != later else mine for mine, by_other, later in parts)


@check("webhook-unsigned", Capability.VERIFY)
def webhook_unsigned(lab: Lab) -> None:
    """A delivery without any of the signature's headers is UNSIGNED."""
    for delivery in offered(lab):
        request = delivery.request(key(), now())
        got = verdict(lab, replace(request, headers=dict(delivery.headers)), key())
        expect(got is Verification.UNSIGNED, f"A delivery without a signature is {told(got)}.")


@check("webhook-stale", Capability.VERIFY)
def webhook_stale(lab: Lab) -> None:
    """What was signed too long before it came, or for a time after, is STALE."""
    for delivery in offered(lab):
        if "time" not in delivery.signs:
            continue
        away = dt.timedelta(seconds=delivery.window) + MARGIN
        for what, by in (("before it came", -away), ("after it came", away)):
            secret = key()
            got = verdict(lab, _aged(delivery, secret, by), secret)
            expect(got is Verification.STALE, f"A delivery signed {away} {what} is {told(got)}.")


@check("webhook-garbage", Capability.VERIFY)
def webhook_garbage(lab: Lab) -> None:
    """Headers that nobody meant, or that are missing, are answered with a word other than GENUINE: never an error."""
    for delivery in offered(lab):
        secret = key()
        genuine = delivery.request(secret, now())
        for what, headers in _spoilt(delivery, genuine, secret):
            got = verdict(lab, replace(genuine, headers=headers), secret)
            refused = isinstance(got, Verification) and got is not Verification.GENUINE
            expect(refused, f"A delivery with {what} is {told(got)}.")


def _spoilt(delivery: Delivery, genuine: WebhookRequest, secret: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for name in delivery.signed(secret, genuine):
        yield f"no header `{name}`", {n: v for n, v in genuine.headers.items() if n != name}
        for value in (*GARBAGE, genuine.headers[name] + ",x", genuine.headers[name][:-1]):
            yield f"the header `{name}` at {value[:40]!r}", {**genuine.headers, name: value}
