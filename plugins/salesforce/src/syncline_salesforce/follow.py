"""Following changes as they happen (Change Data Capture): events become what is known of each record now.

An event tells what changed. Whatever it does not tell — a gap, a difference of long texts, a formula — is asked for by REST.
Changes of our own come as well: they are known by their content, not by who made them.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from syncline.contract import (
    AuthError,
    Kind,
    ObjectType,
    Page,
    Permanent,
    PullRequest,
    RemoteRecord,
    Session,
    UnsupportedFeature,
)

from .account import organization
from .client import Client
from .ids import full
from .objects import change_event
from .pubsub.bus import Bus, Expired, Lost
from .pubsub.eventbus_pb2 import ConsumerEvent, FetchResponse
from .pubsub.events import GONE, OVERFLOW, Happened
from .reading import fetch
from .wire import Reader

PATIENCE: Final = 4.0  # seconds until a page without records says that all is well
OVERLAP: Final = dt.timedelta(minutes=5)  # clocks differ
_PLACE: Final = re.compile(r"(earliest)|from (\d{1,16})|after ([A-Za-z0-9_=-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on. Events have ids that nobody can count with: before the first one, a moment stands for it.

    `after`: the last event's id; b"" from the oldest kept. `since`: what was committed before is passed over.
    """

    after: bytes = b""
    since: int = 0

    @classmethod
    def of(cls, position: str | None) -> Place:
        if position is None:
            return cls(since=int((dt.datetime.now(dt.UTC) - OVERLAP).timestamp() * 1000))
        found = _PLACE.fullmatch(position)
        try:
            after = base64.urlsafe_b64decode(found[3]) if found and found[3] else b""
        except binascii.Error:
            found = None
        if not found:
            raise Permanent(f"“{position[:50]}” is no place in a stream of Salesforce. Reset the position of this pull.")
        return cls(after, int(found[2] or 0))

    def __str__(self) -> str:
        if self.after:
            return f"after {base64.urlsafe_b64encode(self.after).decode()}"
        return f"from {self.since}" if self.since else "earliest"


def follow(session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
    if not object_type.follow:
        raise UnsupportedFeature(f"Salesforce has no change events for {object_type.title}. Pull them on a schedule.")
    place, refused = Place.of(request.position), False
    with Bus(session, session.account_id or str(organization(session)["Id"])) as bus:
        following = Following(bus, Client(session), object_type, request.properties)
        while True:
            try:
                for page, reached in following.pages(place):
                    place, refused = reached, False
                    yield page
            except Expired as expired:
                if refused:
                    raise AuthError(f"{expired} Reconnect it.") from None
                refused = bool(organization(session))
            except Lost as lost:
                place = Place()
                yield Page([], str(place), gap=f"{lost} Events are kept for three days.")


class Following:
    """One object's changes, for as long as the stream holds."""

    def __init__(self, bus: Bus, client: Client, object_type: ObjectType, properties: tuple[str, ...]) -> None:
        self._bus, self._client, self._object, self._asked = bus, client, object_type, properties
        self._reader = Reader(object_type, properties)
        self._texts = {one.name for one in object_type.properties if one.kind is Kind.STRING}

    def pages(self, place: Place) -> Iterator[tuple[Page, Place]]:
        with self._bus.stream(f"/data/{change_event(self._object.key)}", place.after) as stream:
            while True:
                heard = stream.next(PATIENCE)
                if heard is None:
                    yield Page([], str(place)), place
                    continue
                page = self._page(heard, place)
                place = _reached(heard, place)
                yield page, place
                stream.ask(heard.pending_num_requested)

    def _page(self, heard: FetchResponse, place: Place) -> Page:
        changes, gaps = Changes(), []
        for one in heard.events:
            try:
                told = self._bus.schema(one.event.schema_id).happened(one.event.payload, self._asked)
            except (ValueError, KeyError, TypeError, EOFError, OverflowError, IndexError) as error:
                gaps.append(f"A change event could not be read ({type(error).__name__}: {str(error)[:100]}).")
                continue
            if told.at.timestamp() * 1000 >= place.since:
                gaps += changes.add(told, self._unclear(told))
        return Page(self._records(changes), str(_reached(heard, place)), gap=" ".join(dict.fromkeys(gaps)))

    def _unclear(self, told: Happened) -> bool:
        """A time of day is a number in events and a text elsewhere."""
        return told.partial or any(type(told.values[name]) is int for name in told.values.keys() & self._texts)

    def _records(self, changes: Changes) -> list[RemoteRecord]:
        unclear = [one for one, change in changes.of.items() if change.unclear]
        there = fetch(self._client, self._object, unclear, self._asked) if unclear else {}
        return [record for one, change in changes.of.items() for record in self._told(one, change, there.get(one))]

    def _told(self, one: str, change: Change, found: RemoteRecord | None) -> Iterator[RemoteRecord]:
        if found is not None:
            merged = (one,) if found.id != one else ()
            yield RemoteRecord(found.id, found.properties, found.archived, found.modified_at or change.at, merged)
        elif change.gone:
            yield RemoteRecord(one, {}, archived=True, modified_at=change.at)
        elif change.values:
            values = {**change.values, **({"Id": one} if "Id" in self._asked else {})}
            yield RemoteRecord(one, self._reader.values(values), modified_at=change.at)


@dataclass(slots=True)
class Change:
    """What several events together say of a record."""

    at: dt.datetime
    values: dict[str, Any] = field(default_factory=dict)
    gone: bool = False
    unclear: bool = False


class Changes:
    """Of one page, by record: each comes once, in the order of its first event."""

    def __init__(self) -> None:
        self.of: dict[str, Change] = {}

    def add(self, told: Happened, unclear: bool) -> Iterable[str]:
        """Gives the reasons why something is lost."""
        ids = [full(one) for one in told.ids]
        if told.change == OVERFLOW or not all(ids):
            return [
                f"Salesforce told of a change of too many records to name them ({told.change}, {told.at:%Y-%m-%d %H:%M:%S} UTC)."
            ]
        for one in ids:
            change = self.of.setdefault(one, Change(told.at))
            change.at, change.gone = told.at, told.change in GONE
            change.values.update(told.values)
            change.unclear = change.unclear or unclear
        return []


def _reached(heard: FetchResponse, before: Place) -> Place:
    last: ConsumerEvent | None = heard.events[-1] if heard.events else None
    after = last.replay_id if last else heard.latest_replay_id
    return Place(after, before.since) if after else before
