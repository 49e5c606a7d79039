"""The whole sandbox, and one call to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .bulk import Job
from .eventbus import EventBus
from .oauth import Tokens
from .org import Org
from .outbound import Outbound
from .rest import parsed


@dataclass(slots=True)
class Server:
    """`daily`: calls in 24 hours. `page`: records that one answer to a query holds."""

    org: Org = field(default_factory=Org)
    tokens: Tokens = field(default_factory=Tokens)
    outbound: Outbound = field(init=False)
    bus: EventBus = field(init=False)
    jobs: dict[str, Job] = field(default_factory=dict)
    cursors: dict[str, list[Any]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    token: str = ""
    daily: int = 100_000
    used: int = 0
    page: int = 2000
    calls: list[str] = field(default_factory=list)
    """What was called since the list was emptied: method and path."""
    clients: set[str] = field(default_factory=set)
    """What callers said of themselves in `Sforce-Call-Options`."""

    def __post_init__(self) -> None:
        self.token = self.tokens.issue()
        self.outbound = Outbound(self.org)
        self.bus = EventBus(self.org)
        self.org.listeners += [self.outbound.tell, self.bus.heard]


@dataclass(frozen=True, slots=True)
class Call:
    """`base`: the sandbox's address. `prefix`: path of the API's version. `address`: path and query as they came."""

    server: Server
    method: str
    base: str
    prefix: str
    address: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def org(self) -> Org:
        return self.server.org

    def json(self) -> dict[str, Any]:
        return parsed(self.raw)
