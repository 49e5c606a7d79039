"""What happens to a delivery: refused and counted, or stored and then acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from django.db import Error, connection, transaction

from syncline import background
from syncline.contract import SynclineError
from syncline.contract.webhooks import Answer, Event, Receipt, WebhookRequest
from syncline.registry import Connector, connector

from . import reading, store
from .addresses import Place

QUEUE: Final = "inbox"
TOO_LARGE: Final = "too large"
SWITCHED_OFF: Final = "switched off"
CANNOT_TELL: Final = "not checked"
MOMENT: Final = 0.5
KEEPING: Final = frozenset({"POST", "PUT", "PATCH"})

log = logging.getLogger("syncline.inbox")

_COUNT = """
INSERT INTO syncline_refusal (address_id, cause, day, count) VALUES (%s, %s, (now() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (address_id, cause, day) DO UPDATE SET count = syncline_refusal.count + 1, last_at = now()
"""


def take(place: Place, request: WebhookRequest) -> Answer:
    """Stored means committed. Raises the database's errors: the vendor is to deliver it again."""
    if not place.open:
        return refuse(place, SWITCHED_OFF, Answer(503))
    try:
        found = connector(place.connector)
        cause = reading.refusal(found, request, place.secrets)
    except (SynclineError, ValueError) as error:
        log.warning("A delivery to webhook address %s could not be checked: %s", place.address_id, error)
        return refuse(place, CANNOT_TELL, Answer(503))
    if cause:
        refused = reading.answer(found, request, (), Receipt.REFUSED)
        return refuse(place, cause, refused) if request.method in KEEPING else refused
    if request.method not in KEEPING:
        return reading.answer(found, request, (), Receipt.STORED)
    return _keep(place, found, request)


def _keep(place: Place, found: Connector, request: WebhookRequest) -> Answer:
    if not reading.may_wait(found):
        return _read(place, found, request)
    store.store_unread(place, request)
    if _bell.due():
        ring()
    return reading.answer(found, request, (), Receipt.STORED)


def _read(place: Place, found: Connector, request: WebhookRequest) -> Answer:
    read = reading.read(found, request)
    stored = store.store(place, request, read)
    if stored.waiting and _bell.due():
        ring()
    if read.cause:
        log.warning("Delivery %s could not be read: %s", stored.delivery_id, read.cause)
    return reading.answer(found, request, read.events, Receipt.UNREADABLE if read.cause else Receipt.STORED)


def too_large(place: Place, request: WebhookRequest) -> Answer:
    """`request` without its body, which nobody has read."""
    return refuse(place, TOO_LARGE, _said(place, request, (), Receipt.TOO_LARGE))


def failed(place: Place, request: WebhookRequest) -> Answer:
    return _said(place, request, (), Receipt.FAILED)


def _said(place: Place, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
    try:
        return reading.answer(connector(place.connector), request, events, receipt)
    except SynclineError:
        return Answer(reading.DEFAULT_STATUS[receipt])


def refuse(place: Place, cause: str, answer: Answer) -> Answer:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [place.address_id, cause])
    return answer


class Bell:
    """One ring for all that comes within a moment: whoever drains the inbox looks again for longer than that."""

    def __init__(self) -> None:
        self._rung = -MOMENT

    def due(self) -> bool:
        now = time.monotonic()
        due = now - self._rung >= MOMENT
        if due:
            self._rung = now
        return due


_bell = Bell()


def ring() -> None:
    """What is stored stays stored without a bell: the tick rings too."""
    try:
        with transaction.atomic():
            background.ring(QUEUE)
    except Error as error:
        log.warning("The bell of the inbox could not be rung (%s); the clock rings it.", type(error).__name__)
