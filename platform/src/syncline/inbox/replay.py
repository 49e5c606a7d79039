"""Reading stored deliveries again: never the vendor is asked, and nothing is verified anew."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from syncline.contract import ConfigError
from syncline.contract.webhooks import WebhookRequest
from syncline.registry import connector

from . import intake, reading, store
from .addresses import place_of
from .models import Delivery, InboxEvent
from .store import Made

State = InboxEvent.State
#: What waits is on its way already, and what was replayed has a younger event in its place.
REPLAYABLE: Final = frozenset(State) - {State.WAITING, State.REPLAYED}
SETTLED: Final = frozenset({State.DEAD, State.UNROUTABLE, State.UNKNOWN, State.IGNORED})


@dataclass(frozen=True, slots=True)
class Which:
    """A choice of stored events. `delivery` alone is the whole delivery, what could not be read of it included."""

    delivery: int | None = None
    state: str = ""
    connection: int | None = None
    kind: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def events(self) -> QuerySet[InboxEvent]:
        return self.all_events().filter(state__in=REPLAYABLE)

    def all_events(self) -> QuerySet[InboxEvent]:
        """Also those that cannot be replayed."""
        wanted = {
            "delivery": self.delivery,
            "state": self.state,
            "connection": self.connection,
            "kind": self.kind,
            "received_at__gte": self.since,
            "received_at__lt": self.until,
        }
        return InboxEvent.objects.filter(**{name: value for name, value in wanted.items() if value not in (None, "")})

    def unreadable(self) -> QuerySet[Delivery]:
        """Deliveries without events that fit: only when neither state, kind nor connection is asked for, or just these."""
        rows = Delivery.objects.filter(state=Delivery.State.UNREADABLE)
        if self.connection or self.kind or self.state not in ("", Delivery.State.UNREADABLE):
            return rows.none()
        wanted = {"pk": self.delivery, "received_at__gte": self.since, "received_at__lt": self.until}
        return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def replay(which: Which) -> Iterator[Made]:
    """One delivery after the other, each in a transaction of its own; then a worker is rung for."""
    if which.delivery and not (which.state or which.connection or which.kind):
        yield whole(which.delivery)
        return
    for delivery_id in _ids(which.unreadable().values_list("pk", flat=True)):
        yield whole(delivery_id)
    for event_id in _ids(which.events().values_list("pk", flat=True)):
        yield one(event_id)


def _ids(ids: QuerySet[Delivery, int] | QuerySet[InboxEvent, int]) -> Iterator[int]:
    """As they are now: what a replay adds is not replayed with it."""
    yield from list(ids.order_by("pk"))


def whole(delivery_id: int) -> Made:
    with transaction.atomic():
        delivery = _held(delivery_id)
        if delivery.state == Delivery.State.STORED:
            raise ConfigError(f"Delivery {delivery_id} waits to be read for the first time. A worker does that within seconds.")
        made = _again(delivery)
        delivery.events.filter(state__in=SETTLED, replay=False).update(state=State.REPLAYED)
        _ring(made)
    return made


def one(event_id: int) -> Made:
    """What the delivery tells at the event's position, for its connection; for every one that fits when it had found none."""
    found = InboxEvent.objects.filter(pk=event_id).first()
    if found is None or found.state not in REPLAYABLE:
        return Made()
    with transaction.atomic():
        delivery = _held(found.delivery_id)
        event = InboxEvent.objects.select_for_update().get(pk=event_id)
        if event.state not in REPLAYABLE:
            return Made()
        made = _again(delivery, event)
        if event.state in SETTLED and made.events:
            InboxEvent.objects.filter(pk=event_id).update(state=State.REPLAYED)
        _ring(made)
    return made


def _held(delivery_id: int) -> Delivery:
    found = Delivery.objects.select_for_update().filter(pk=delivery_id).first()
    if found is None:
        raise ConfigError(f"There is no delivery {delivery_id}; perhaps it was too old and was removed.")
    return found


def _again(delivery: Delivery, event: InboxEvent | None = None) -> Made:
    place = place_of(delivery.address_id)
    read = reading.read(connector(place.connector), request_of(delivery))
    positions = None if event is None else [event.position]
    return store.store_again(place, delivery, read, positions=positions, connection_id=event.connection_id if event else None)


def request_of(delivery: Delivery) -> WebhookRequest:
    return WebhookRequest(delivery.method, delivery.url, delivery.headers, bytes(delivery.body), delivery.received_at)


def _ring(made: Made) -> None:
    if made.waiting:
        intake.ring()
