"""The table of `syncline inbox list`, and `syncline inbox replay`."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rich.console import Console
from rich.table import Table

from syncline.contract import ConfigError
from syncline.contract.webhooks import EventKind
from syncline.inbox import replay as replaying
from syncline.inbox.models import Delivery, InboxEvent
from syncline.inbox.replay import Which

STATES = (*InboxEvent.State.values, Delivery.State.UNREADABLE.value)


def chosen(
    *, delivery: int | None, state: str, connection: int | None, kind: str, since: dt.datetime | None, until: dt.datetime | None
) -> Which:
    """ConfigError for a word that is none."""
    for given, known in ((state, STATES), (kind, tuple(EventKind))):
        if given and given not in known:
            raise ConfigError(f"{given!r} is none of {', '.join(known)}.")
    return Which(delivery, state, connection, kind, _utc(since), _utc(until))


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.replace(tzinfo=dt.UTC) if moment else None


def show(which: Which, console: Console, rows: int) -> None:
    events = which.all_events().select_related("connection").defer("connection__credentials").order_by("-pk")[:rows]
    table = Table("event", "delivery", "kind", "record", "connection", "state", "received (UTC)", box=None, header_style="bold")
    for one in events:
        table.add_row(*_cells(one))
    if table.row_count:
        console.print(table)
    else:
        console.print("No event fits.")
    for delivery in which.unreadable().defer("body", "headers").order_by("-pk")[:rows]:
        console.print(f"Delivery {delivery.pk} could not be read: {delivery.cause}", markup=False, highlight=False)


def _cells(one: InboxEvent) -> list[Any]:
    where = one.connection.name if one.connection else f"none (account {one.account or 'not named'})"
    record = f"{one.object_type} {one.remote_id}"
    return [str(one.pk), str(one.delivery_id), one.kind, record, where, one.state, f"{one.received_at:%Y-%m-%d %H:%M:%S}"]


def replay(which: Which, console: Console, *, dry_run: bool) -> None:
    if which == Which():
        raise ConfigError("Say what to replay, for instance --state dead; --since 2000-01-01 is everything.")
    if dry_run:
        deliveries = which.unreadable().count()
        console.print(f"{which.events().count()} events and {deliveries} unreadable deliveries would be replayed.")
        return
    events = waiting = deliveries = 0
    for made in replaying.replay(which):
        deliveries, events, waiting = deliveries + 1, events + made.events, waiting + made.waiting
    console.print(f"Read {deliveries} times: {events} events made, {waiting} on their way.", highlight=False)
