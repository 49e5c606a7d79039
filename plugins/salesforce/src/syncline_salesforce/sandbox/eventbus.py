"""The event bus: what changed in the account, kept for three days in one stream for each object."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..objects import change_event
from .changes import LEFT_OUT, ChangeSchema, Told
from .org import Org, Record

RETENTION = 72 * 3600.0
USER = "005000000000001AAA"


@dataclass(frozen=True, slots=True)
class Kept:
    number: int
    id: str
    schema_id: str
    payload: bytes
    at: float


@dataclass(slots=True)
class Topic:
    """`last`: number of the youngest event there ever was. Ids of places say nothing of their order."""

    salt: str = field(default_factory=lambda: secrets.token_hex(4))
    last: int = 0
    events: list[Kept] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def place(self, number: int) -> bytes:
        return hashlib.blake2b(f"{self.salt}{number}".encode(), digest_size=10).digest()

    def after(self, place: bytes) -> int | None:
        """The number of the event at that place; None when it is not kept."""
        first = self.events[0].number if self.events else self.last + 1
        return next((number for number in range(self.last, first - 2, -1) if self.place(number) == place), None)


@dataclass(slots=True)
class EventBus:
    """`silent`: changes make no events. `keepalive`: seconds between signs of life. `patience`: seconds that a stream may have
    nothing asked for. `ending`: the status that running streams end with, now."""

    org: Org
    topics: dict[str, Topic] = field(default_factory=dict)
    schemas: dict[str, ChangeSchema] = field(default_factory=dict)
    waiting: list[Told] = field(default_factory=list)
    commits: Iterator[int] = field(default_factory=lambda: itertools.count(10_000_001))
    silent: bool = False
    keepalive: float = 270.0
    patience: float = 60.0
    ending: str = ""
    streams: int = 0
    begun: int = 0

    def __post_init__(self) -> None:
        for kind, definition in self.org.objects.items():
            if definition.layout:
                self.topics[f"/data/{change_event(kind)}"] = Topic()
                self.schemas[kind] = ChangeSchema(definition, change_event(kind))

    def heard(self, kind: str, record: Record, change: str, before: Record) -> None:
        if kind in self.schemas and not self.silent:
            values = {name: value for name, value in record.items() if name not in LEFT_OUT}
            shown = values if change in ("CREATE", "UPDATE", "UNDELETE") else {}
            self.waiting.append(Told(kind, change, (record["Id"],), shown, before))

    def inject(self, kind: str, change: str, ids: Sequence[str]) -> None:
        """An event that says that there was a change, and not which."""
        self.waiting.append(Told(kind, change, tuple(ids), {}, {}))

    def commit(self, client: str) -> None:
        """What one request did is one transaction. `client`: who says that it made it."""
        told, self.waiting = _merged(self.waiting), []
        key, number = secrets.token_hex(18), next(self.commits)
        origin = f"com/salesforce/api/rest/67.0;client={client}"
        for place, one in enumerate(told, 1):
            self._keep(one, {"transactionKey": key, "commitNumber": number, "sequenceNumber": place, "changeOrigin": origin})

    def _keep(self, told: Told, of_transaction: dict[str, Any]) -> None:
        topic, schema, now = self.topics[f"/data/{change_event(told.kind)}"], self.schemas[told.kind], self.org.clock.now()
        header = {
            "entityName": told.kind,
            "recordIds": list(told.ids),
            "changeType": told.change,
            "commitTimestamp": int(now * 1000),
            "commitUser": USER,
            **of_transaction,
        }
        topic.last += 1
        topic.events.append(Kept(topic.last, secrets.token_hex(16), schema.id, schema.encode(told, header), now))
        topic.woken.set()

    def forget(self, topic: Topic) -> None:
        oldest = self.org.clock.now() - RETENTION
        topic.events = [one for one in topic.events if one.at >= oldest]

    def wake(self) -> None:
        for topic in self.topics.values():
            topic.woken.set()


def _merged(told: Sequence[Told]) -> list[Told]:
    """The same change of several records is told once, with all their ids."""
    found: list[Told] = []
    for one in told:
        last = found[-1] if found else None
        if last and last.change != "CREATE" and (last.kind, last.change, _news(last)) == (one.kind, one.change, _news(one)):
            found[-1] = Told(last.kind, last.change, (*last.ids, *one.ids), last.values, last.before)
        else:
            found.append(one)
    return found


def _news(told: Told) -> dict[str, Any]:
    return {name: value for name, value in told.values.items() if value != told.before.get(name)}
