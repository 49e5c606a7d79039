"""What happens to records, told to whoever subscribed: arrays of at most 100 events, signed, delivered again until acknowledged.

One app, one address and one secret for all accounts, as with HubSpot. Pauses before another attempt pass with the sandbox's
clock.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from .clock import Clock
from .config import Config
from .records import BUILT_IN, Kind
from .sending import post, signed
from .wire import Json

WORDS = ("creation", "deletion", "propertyChange", "associationChange", "merge", "restore", "privacyDeletion")
NEVER = ("hs_lastmodifieddate", "lastmodifieddate", "num_unique_conversion_events")
"""Properties nobody can subscribe to."""
SOURCES = {"INTEGRATION": "appId:18221010", "CRM_UI": "userId:88842095"}
MOST = 100
AT_ONCE = 10
PAUSES = (60, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600, 28_800)
"""Seconds before each further attempt, at most: ten of them within a day."""
POLL_S = 0.02
_BY_WORD = {kind.singular: kind.type_id for kind in BUILT_IN}


@dataclass(frozen=True, slots=True)
class Subscription:
    id: int
    event: str
    """`company.creation`, or `object.creation` with `object_type`; of propertyChange without `property`: every one."""
    object_type: str = ""
    property: str = ""

    def wants(self, kind: Kind, word: str, name: str) -> bool:
        own, _, wanted = self.event.partition(".")
        type_id = self.object_type if own == "object" else _BY_WORD.get(own)
        return wanted == word and type_id == kind.type_id and self.property in ("", name)


@dataclass(order=True, slots=True)
class Delivery:
    due: float
    number: int
    events: list[Json] = field(compare=False)
    attempt: int = field(default=0, compare=False)


@dataclass(slots=True)
class Webhooks:
    clock: Clock
    config: Config
    random: Random = field(default_factory=lambda: Random(1))
    url: str = ""
    secret: str = ""
    subscriptions: list[Subscription] = field(default_factory=list)
    fresh: deque[Json] = field(default_factory=deque)
    due: list[Delivery] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    """Numbers of the events whose delivery was answered with a 2xx, as often as it was."""
    counts: dict[str, int] = field(default_factory=lambda: {"told": 0, "deliveries": 0, "refused": 0, "given_up": 0})
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    busy: set[asyncio.Task[None]] = field(default_factory=set)
    loop: asyncio.Task[None] | None = None

    @property
    def heard(self) -> bool:
        return bool(self.url and self.subscriptions)

    def tell(self, portal_id: int, kind: Kind, word: str, source: str, details: Json) -> None:
        for one in self.subscriptions:
            if one.wants(kind, word, details.get("propertyName", "")):
                typed = {"objectTypeId": kind.type_id} if one.event.startswith("object.") else {}
                self.fresh.append({**self._event(one, portal_id, source), **typed, **details})
        self.wake()

    def _event(self, one: Subscription, portal_id: int, source: str) -> Json:
        self.counts["told"] += 1
        return {
            "eventId": next(self.numbers),
            "subscriptionId": one.id,
            "portalId": portal_id,
            "appId": 18_221_010,
            "occurredAt": int(self.clock.now() * 1000),
            "subscriptionType": one.event,
            "changeSource": source,
            "sourceId": SOURCES.get(source, source),
        }

    def wake(self) -> None:
        if self.fresh and (self.loop is None or self.loop.done()):
            self.loop = asyncio.get_running_loop().create_task(self._deliver())

    def stop(self) -> None:
        for task in (*self.busy, *([self.loop] if self.loop else [])):
            task.cancel()

    @property
    def waiting(self) -> int:
        """Events that are neither acknowledged nor given up."""
        return len(self.fresh) + sum(len(one.events) for one in self.due) + len(self.busy)

    async def _deliver(self) -> None:
        while self.fresh or self.due or self.busy:
            await asyncio.sleep(POLL_S)
            self._pack()
            while self.due and self.due[0].due <= self.clock.now() and len(self.busy) < AT_ONCE:
                task = asyncio.create_task(self._send(heapq.heappop(self.due)))
                self.busy.add(task)
                task.add_done_callback(self.busy.discard)

    def _pack(self) -> None:
        if self.config.webhook_shuffle and self.fresh:
            mixed = list(self.fresh)
            self.random.shuffle(mixed)
            self.fresh = deque(mixed)
        while self.fresh:
            events = [self.fresh.popleft() for _ in range(min(MOST, self.config.webhook_batch, len(self.fresh)))]
            self._plan(events, 0, self.random.random() if self.config.webhook_shuffle else 0.0)

    def _plan(self, events: list[Json], attempt: int, after: float) -> None:
        heapq.heappush(self.due, Delivery(self.clock.now() + after, next(self.numbers), events, attempt))

    async def _send(self, one: Delivery) -> None:
        body = orjson.dumps([{**event, "attemptNumber": one.attempt} for event in one.events])
        headers = signed(self.secret, self.url, body, int(self.clock.now() * 1000))
        self.counts["deliveries"] += 1
        status = await post(self.url, headers, body, self.config.webhook_timeout_s)
        if 200 <= status < 300:
            self.acknowledged += [event["eventId"] for event in one.events]
            if self.random.random() < self.config.webhook_duplicates:
                self._plan(one.events, one.attempt, self.random.random())
        elif one.attempt < len(PAUSES):
            self.counts["refused"] += 1
            pause = PAUSES[one.attempt] * self.config.webhook_pauses
            self._plan(one.events, one.attempt + 1, pause * self.random.uniform(0.5, 1.0))
        else:
            self.counts["given_up"] += len(one.events)

    def as_dict(self) -> dict[str, Any]:
        return {"url": self.url, "waiting": self.waiting, "acknowledged": len(self.acknowledged), **self.counts}
