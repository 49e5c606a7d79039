"""Asking a connector about a delivery. Whatever it does, raising or not coming back, ends in a word or a sentence."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from syncline.contract import SynclineError
from syncline.contract.connector import Capability
from syncline.contract.webhooks import Answer, Event, Receipt, Verification, WebhookRequest
from syncline.ledger.storable import dumps
from syncline.registry import Connector

PARSE_SECONDS = 2.0  # vendors wait for five
MOST_STUCK: Final = 4
NO_SECRET: Final = "no secret set"  # noqa: S105
DEFAULT_STATUS: Final = {
    Receipt.STORED: 204,
    Receipt.REFUSED: 401,
    Receipt.UNREADABLE: 204,
    Receipt.TOO_LARGE: 413,
    Receipt.FAILED: 503,
}

T = TypeVar("T")
log = logging.getLogger("syncline.inbox")


@dataclass(frozen=True, slots=True)
class Reading:
    """`cause`: why the delivery could not be read; then there are no events."""

    events: Sequence[Event] = ()
    cause: str = ""


def refusal(connector: Connector, request: WebhookRequest, secrets: Sequence[str]) -> str:
    """Why the delivery is not believed, "" when it is. SynclineError when the connector cannot say."""
    if Capability.VERIFY not in connector.implements:
        return ""
    if not secrets:
        return "" if connector.info.unsigned_webhooks else NO_SECRET
    found = Verification(connector.call.verify(request=request, secrets=secrets))
    return "" if found == Verification.GENUINE else found.value


def read(connector: Connector, request: WebhookRequest) -> Reading:
    try:
        return Reading(_in_time(lambda: [_checked(one) for one in connector.call.parse(request=request)]))
    except SynclineError as error:
        return Reading(cause=str(error))
    except Exception as error:  # noqa: BLE001 - not of the contract's types: told, and kept with the delivery
        return Reading(cause=f"{connector.key}.parse gave no events ({type(error).__name__}). Report it to its author.")


def answer(connector: Connector, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
    """What the vendor is told; by the default when the connector has nothing to say, or says it wrongly."""
    default = Answer(DEFAULT_STATUS[receipt])
    if Capability.ACKNOWLEDGE not in connector.implements:
        return default
    try:
        given = connector.call.acknowledge(request=request, events=events, receipt=receipt)
        return given if _sound(given) else default
    except Exception as error:  # noqa: BLE001 - it is stored, or not: the answer must say so
        log.warning("%s.acknowledge failed (%s); the default is answered.", connector.key, error)
        return default


def _sound(given: Answer) -> bool:
    texts = [given.content_type, *given.headers, *given.headers.values()]
    return 200 <= given.status <= 599 and isinstance(given.body, bytes) and not any({"\r", "\n"} & set(text) for text in texts)


def _checked(event: Event) -> Event:
    """Raises when it could not be stored."""
    texts = (event.key, event.account, event.object_type, event.remote_id, *event.others)
    fits = all(isinstance(text, str) for text in texts) and isinstance(event.occurred_at, dt.datetime | None)
    if not fits:
        raise TypeError("not an Event of the contract's types")
    dumps(event.data)
    return event


class TookTooLong(SynclineError):
    """The connector took too long to read this delivery. Report it to its author; replay the delivery when it is mended."""


class _Stuck:
    """How many calls never came back; from some number on, no more are made."""

    def __init__(self) -> None:
        self.number, self.lock = 0, threading.Lock()

    def add(self, change: int) -> None:
        with self.lock:
            self.number += change


_stuck = _Stuck()


def _in_time(work: Callable[[], T]) -> T:
    """In a thread of its own, because nothing else can leave a call that does not come back; TookTooLong then."""
    if _stuck.number >= MOST_STUCK:
        raise TookTooLong("Earlier deliveries still keep the connector busy. Restart the web server, then replay this one.")
    call = _Call(work)
    call.start()
    if not call.ended.wait(PARSE_SECONDS) and call.abandon():
        raise TookTooLong
    return call.result()


class _Call(threading.Thread, Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True, name="syncline-parse")
        self.work, self.ended, self.lock, self.abandoned = work, threading.Event(), threading.Lock(), False
        self.values: list[T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.values.append(self.work())
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            self.error = error
        with self.lock:
            self.ended.set()
            if self.abandoned:
                _stuck.add(-1)

    def abandon(self) -> bool:
        """False when it ended at the last moment."""
        with self.lock:
            if self.ended.is_set():
                return False
            self.abandoned = True
            _stuck.add(1)
            return True

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.values[0]
