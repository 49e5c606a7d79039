"""Posts customer changes as the first system did, and says at the end what the licences must be.

What a customer must be is what the last message says that was acknowledged: truth is the order of acknowledgement. Each
customer belongs to one sender, which never has two of its messages under way. A message whose fate is not known (no answer, or
none but a failure) is posted again, byte for byte, until it is acknowledged: it may be stored twice, and says the same twice.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

from syncline.contract import ConfigError

from ..signatures import HEADER
from .customers import Crowd, Message, Shares

TIMEOUT: Final = 20.0
PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
#: So often a message is posted again after everything else has ended, for its fate to be known.
LAST_TRIES: Final = 10
#: Answers that ask for the same message again; every other one but success is final.
AGAIN: Final = frozenset({408, 425, 429})


class Refused(Exception):
    """An answer that will be no other the next time."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered by {status}")
        self.status = status


@dataclass(slots=True)
class Told:
    """By one sender. `expected`: Id → what the last acknowledged message says; `uncertain`: whose last message had no answer."""

    expected: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def simulate(
    url: Annotated[str, "Where to post to"] = "http://127.0.0.1:8000/salesforce/webhook",
    customers: Annotated[int, "How many customers there are"] = 10,
    messages: Annotated[int, "How many messages to post, malformed ones and duplicates included; 0: until ^C"] = 0,
    rate: Annotated[float, "Messages a second, 0: as fast as they are taken"] = 10.0,
    concurrency: Annotated[int, "Messages under way at once, of different customers"] = 4,
    seed: Annotated[int, "Another number gives other customers and changes"] = 1,
    secret: Annotated[str, "Sent along in a header"] = "",
    duplicates: Annotated[float, "Share of messages that were posted before"] = 0.0,
    reordered: Annotated[float, "Share of messages that are posted late"] = 0.0,
    bursts: Annotated[float, "Share of messages that come at once, without a pause"] = 0.0,
    malformed: Annotated[float, "Share of messages that cannot be read"] = 0.0,
) -> None:
    """Posts customers whose products change, and ends with one line of JSON: what the licences must be, and counts."""
    shares = Shares(duplicates, reordered, bursts, malformed)
    _check(customers, messages, concurrency, shares)
    stop = threading.Event()
    senders = [
        Sender(Post(url, secret), Crowd(size, shares, f"{seed}-{number}"), of_all, rate * size / customers, stop)
        for number, (size, of_all) in enumerate(_shared(customers, messages, concurrency))
    ]
    begun = time.monotonic()
    with _stopped_by_signals(stop):
        _run(senders)
    sys.stdout.write(json.dumps(summed([one.told for one in senders], time.monotonic() - begun)) + "\n")
    if refused := next((one.refused for one in senders if one.refused), None):
        raise ConfigError(
            f"{url.partition('?')[0]} answered a sound message by {refused.status}, so nothing more was posted. "
            "Look at the address and its secret."
        )


def _check(customers: int, messages: int, concurrency: int, shares: Shares) -> None:
    if customers < 1 or concurrency < 1 or messages < 0:
        raise ConfigError("Give at least one customer and one message at once, and no negative number.")
    for name in Shares.__slots__:
        if not 0 <= getattr(shares, name) <= (0.9 if name == "malformed" else 1):
            raise ConfigError(f"The share of {name} is a number from 0 to 1 (malformed: 0.9), such as 0.1 for one in ten.")


def _shared(customers: int, messages: int, concurrency: int) -> Iterator[tuple[int, int | None]]:
    """For each sender: how many customers, and how many messages (None: no end)."""
    senders = min(concurrency, customers)
    for number in range(senders):
        share = (messages + senders - 1 - number) // senders
        yield (customers + senders - 1 - number) // senders, share if messages else None


def _run(senders: list[Sender]) -> None:
    threads = [threading.Thread(target=one.run, name=f"sender {number}") for number, one in enumerate(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # so that signals are heard


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first one ends it in good order; only the main thread may listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Post:
    """One line to the host, opened anew when it broke."""

    def __init__(self, url: str, secret: str) -> None:
        self.parts: SplitResult = urlsplit(url)
        if self.parts.scheme not in {"http", "https"} or not self.parts.hostname:
            raise ConfigError(f"{url} is no address to post to. Give one such as http://127.0.0.1:8000/salesforce/webhook.")
        self.path = f"{self.parts.path or '/'}{'?' + self.parts.query if self.parts.query else ''}"
        self.headers = {HEADER: secret} if secret else {}
        self._line: http.client.HTTPConnection | None = None

    def __call__(self, body: bytes) -> int:
        """The status. Without a Content-Type, as the first system sent it; OSError or HTTPException when there is no answer."""
        if self._line is None:
            kind = http.client.HTTPSConnection if self.parts.scheme == "https" else http.client.HTTPConnection
            self._line = kind(str(self.parts.hostname), self.parts.port, timeout=TIMEOUT)
        try:
            self._line.request("POST", self.path, body, self.headers)
            answer = self._line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return answer.status

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class Sender:
    """Posts the messages of its customers one after the other."""

    def __init__(self, post: Post, crowd: Crowd, messages: int | None, rate: float, stop: threading.Event) -> None:
        self.post, self.rate, self.stop = post, rate, stop
        self.messages = islice(crowd.messages(), messages)
        self.told = Told()
        self.refused: Refused | None = None

    def run(self) -> None:
        due = time.monotonic()
        try:
            for message in self.messages:
                if message.pause and self.rate:
                    self.stop.wait(due - time.monotonic())
                    due = max(due, time.monotonic() - 1) + 1 / self.rate
                if self.stop.is_set():
                    return
                self._send(message)
        except Refused as refused:
            self.refused = refused
            self.stop.set()
        finally:
            self.post.close()

    def _send(self, message: Message) -> None:
        counts, who = self.told.counts, message.state["Id"] if message.state else None
        counts["posted"] += 1
        counts["duplicates"] += message.again
        counts["malformed"] += message.state is None
        acknowledged = self._until_answered(message)
        if who is None or message.state is None:
            return
        if acknowledged:
            self.told.expected[who] = message.state
            counts["acknowledged"] += 1
        else:
            self.told.uncertain.add(who)

    def _until_answered(self, message: Message) -> bool:
        """Whether it was acknowledged. False when it is malformed, or when everything ends before its fate is known."""
        attempt = last = 0
        while True:
            status = self._status(message.body)
            if 200 <= status < 300:
                return message.state is not None
            if 300 <= status < 500 and status not in AGAIN:
                if message.state is None:
                    return False
                raise Refused(status)
            self.told.counts["again"] += 1
            if self.stop.is_set():
                last += 1
            if last > LAST_TRIES:
                return False
            time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    def _status(self, body: bytes) -> int:
        """0 when there was no answer."""
        try:
            return self.post(body)
        except (OSError, http.client.HTTPException):
            return 0


def summed(told: list[Told], seconds: float) -> dict[str, Any]:
    counts: Counter[str] = sum((one.counts for one in told), Counter())
    customers = {who: _expected(state) for one in told for who, state in one.expected.items()}
    names = ("posted", "acknowledged", "duplicates", "malformed", "again")
    uncertain = sorted(who for one in told for who in one.uncertain)
    return {
        **{name: counts[name] for name in names},
        "seconds": round(seconds, 1),
        "uncertain": uncertain,
        "customers": customers,
    }


def _expected(state: Mapping[str, Any]) -> dict[str, Any]:
    skus = [name for name, value in sorted(state.items()) if name.startswith("SKU") and value]
    return {"name": state["Name"], "signed_tos": state["SignedTos"], "skus": skus}
