"""The vendor in memory as one that is pulled from: it knows when records changed, keeps what was archived, and lists in pages."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pushing.vendor import Fake, Held, Vendor
from syncline.contract import (
    ObjectType,
    Page,
    PastValue,
    Permanent,
    PullRequest,
    PushResult,
    RemoteRecord,
    Session,
    Value,
    hookimpl,
)
from syncline.contract.values import Change

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
Bend = Callable[[list[Page]], list[Page]]


@dataclass
class Moments:
    """When each record was changed, by the vendor's clock, which tests set. `past`: each property's values, newest first."""

    at: dict[str, dt.datetime] = field(default_factory=dict)
    past: dict[str, dict[str, list[PastValue]]] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)


class Account(Vendor):
    """`page`: records on a page. `bend`: what a listing is made into before it is given. `tells`: earlier values.

    `refuses`: whether a call that asks for these ids is refused as a whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.page, self.moments, self.now, self.tells = 10, Moments(), START, True
        self.bend: Bend = lambda pages: pages
        self.fetched: list[str] = []
        self.refuses: Callable[[Sequence[str]], bool] = lambda _ids: False
        self.requests: list[PullRequest] = []
        self.team_of: dict[str, set[str]] = {}
        self.ids = itertools.count(100)

    def types(self) -> list[ObjectType]:
        return [
            replace(one, page_size=self.page, pull_since=True, pull_archived=True, pull_history=self.tells)
            for one in super().types()
        ]

    def tick(self, seconds: float = 1.0) -> dt.datetime:
        self.now = max(self.now + dt.timedelta(seconds=seconds), dt.datetime.now(dt.UTC))
        return self.now

    def touch(self, id: str) -> None:
        at = self.moments.at[id] = self.tick(0.001)
        [held] = [table[id] for table in self.tables.values() if id in table]
        for name, value in held.properties.items():
            past = self.moments.past.setdefault(id, {}).setdefault(name, [])
            if not past or past[0].value != value:
                past.insert(0, PastValue(value, at))

    def seed(self, table: str, **properties: Value) -> str:
        made = super().seed(table, **properties)
        self.touch(made)
        return made

    def edit(self, id: str, table: str = "people", **properties: Value) -> None:
        """As a person does it there."""
        self.tables[table][id].properties |= properties
        self.touch(id)

    def join(self, id: str, *teams: str) -> None:
        self.tables["people"][id].associated = set(teams)
        self.touch(id)

    def archive(self, id: str, table: str = "people") -> None:
        self.delete(table, id)
        self.touch(id)

    def restore(self, id: str, table: str = "people") -> None:
        self.tables[table][id].deleted = False
        self.touch(id)

    def carry_out(self, object_type: ObjectType, changes: Sequence[Change]) -> list[PushResult]:
        results = super().carry_out(object_type, changes)
        for one in results:
            if one.remote_id:
                self.touch(one.remote_id)
        return results

    def record(
        self, held: Held, names: Sequence[str], associations: Sequence[str] = (), history: Sequence[str] = ()
    ) -> RemoteRecord:
        merged = tuple(h.id for table in self.tables.values() for h in table.values() if h.merged_into == held.id)
        teams = {name: tuple(sorted(held.associated)) for name in associations}
        return RemoteRecord(
            held.id,
            {n: held.properties.get(n) for n in names},
            archived=held.deleted,
            modified_at=self.moments.at.get(held.id),
            merged=merged,
            associations=teams,
            history={name: tuple(self.moments.past[held.id].get(name, ())) for name in history},
        )

    def listing(self, table: str, request: PullRequest) -> list[RemoteRecord]:
        chosen = [h for h in self.tables[table].values() if not h.merged_into and h.deleted == request.archived]
        if request.since:
            chosen = [h for h in chosen if self.moments.at[h.id] >= request.since]
        return [self.record(h, request.properties, request.associations, request.history) for h in chosen]

    def pages(self, table: str, request: PullRequest) -> Iterator[Page]:
        self.requests.append(request)
        records = self.listing(table, request)
        whole = [
            Page(records[n : n + self.page], str(n + self.page) if n + self.page < len(records) else None)
            for n in range(0, max(len(records), 1), self.page)
        ]
        after = int(request.position or 0) // self.page
        yield from self.bend(whole)[after:]


class PulledFake(Fake):
    vendor: Account

    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        self.vendor.fetches += 1
        self.vendor.fetched += ids
        if self.vendor.refuses(ids):
            raise Permanent("An id is no number.")
        table, found = self.vendor.tables[object_type.key], {}
        for asked in ids:
            held = table.get(asked)
            while held and held.merged_into:
                held = table[held.merged_into]
            if held and not held.deleted:
                found[asked] = self.vendor.record(held, properties, associations, history)
        return found

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        self.vendor.pulls += 1
        yield from self.vendor.pages(object_type.key, request)
