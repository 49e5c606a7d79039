"""Asking a connector about a delivery. Whatever it does, raising or not coming back, ends in a word or a sentence."""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from syncline.contract import SynclineError
from syncline.contract.connector import Capability
from syncline.contract.webhooks import Answer, Event, Receipt, Verification, WebhookRequest
from syncline.ledger.storable import dumps
from syncline.registry import Connector

from .timed import Pace, in_time

VERIFY_SECONDS = 1.0
PARSE_SECONDS = 2.0  # vendors wait for five, for all of it
ANSWER_SECONDS = 0.5
SMALL: Final = 65_536  # bytes
NO_SECRET: Final = "no secret set"  # noqa: S105
DEFAULT_STATUS: Final = {
    Receipt.STORED: 204,
    Receipt.REFUSED: 401,
    Receipt.UNREADABLE: 204,
    Receipt.TOO_LARGE: 413,
    Receipt.FAILED: 503,
}

log = logging.getLogger("syncline.inbox")
_paces: Final[defaultdict[tuple[str, Capability], Pace]] = defaultdict(Pace)


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
    said = _pace(connector, Capability.VERIFY).call(
        lambda: connector.call.verify(request=request, secrets=secrets), VERIFY_SECONDS
    )
    found = Verification(said)
    return "" if found == Verification.GENUINE else found.value


def may_wait(connector: Connector) -> bool:
    """Whether the vendor is answered the same whatever is read."""
    return Capability.ACKNOWLEDGE not in connector.implements or connector.info.answers_unread


def read(connector: Connector, request: WebhookRequest, *, trusted: bool = True) -> Reading:
    """`trusted`: small ones without the limit of time, if the connector has proven to be quick."""

    def parsed() -> Sequence[Event]:
        return [_checked(one) for one in connector.call.parse(request=request)]

    try:
        quick, pace = trusted and len(request.body) <= SMALL, _pace(connector, Capability.PARSE)
        return Reading(pace.call(parsed, PARSE_SECONDS) if quick else in_time(parsed, PARSE_SECONDS, pace.stuck))
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
        given = _pace(connector, Capability.ACKNOWLEDGE).call(
            lambda: connector.call.acknowledge(request=request, events=events, receipt=receipt), ANSWER_SECONDS
        )
        return given if _sound(given) else default
    except Exception as error:  # noqa: BLE001 - it is stored, or not: the answer must say so
        log.warning("%s.acknowledge failed (%s); the default is answered.", connector.key, error)
        return default


def _pace(connector: Connector, hook: Capability) -> Pace:
    """Apart, so that a `parse` that hangs does not keep what comes next from being believed and stored."""
    return _paces[connector.key, hook]


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
