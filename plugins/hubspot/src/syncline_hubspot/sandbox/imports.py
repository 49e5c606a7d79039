"""What an account knows about its imports. Pure state; importing.py works through them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .records import Table
from .wire import Json

DAY = 86_400
ENDED = frozenset({"DONE", "FAILED", "CANCELED"})


@dataclass(slots=True)
class Column:
    name: str
    property: str
    kind: str


@dataclass(slots=True)
class Import:
    """One file. `done`: rows worked through; `begun`: when its turn came."""

    id: str
    request: Json
    table: Table
    operation: str
    columns: list[Column]
    rows: list[list[str]]
    created: float
    state: str = "STARTED"
    begun: float | None = None
    updated: float = 0.0
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[Json] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def identifier(self) -> int | None:
        """Column of the alternate id."""
        return next((n for n, c in enumerate(self.columns) if c.kind == "HUBSPOT_ALTERNATE_ID"), None)


class Imports:
    """Those of one account, oldest first; `open`: not ended when last looked at."""

    def __init__(self) -> None:
        self.known: dict[str, Import] = {}
        self.open: list[Import] = []

    def add(self, one: Import) -> None:
        self.known[one.id] = one
        self.open.append(one)

    def today(self, now: float) -> list[Import]:
        return [one for one in self.known.values() if int(one.created // DAY) == int(now // DAY)]
