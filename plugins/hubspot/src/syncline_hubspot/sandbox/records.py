"""Records of one object type: ids, unique values, what search has seen. Pure state; the rules of writing are in writes.py."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .clock import iso
from .values import Check, check_for
from .wire import Json

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Edit:
    at: str
    source: str
    values: dict[str, tuple[str | None, str | None]]
    """Before and after, by property."""


MOST_SEARCHES = 8
MOST_EDITS = 45
"""HubSpot keeps 45 values of a contact's property, 20 of others; here it is edits of the record."""


@dataclass(slots=True)
class Record:
    """`values` is replaced, never changed in place, so that older views of it stay what they were."""

    id: str
    values: Values
    created: str
    updated: str
    touch_at: float = 0.0
    """When HubSpot will modify the new record by itself; 0 when that is over."""
    archived_at: str | None = None
    indexed: Values | None = None
    """The values search knows; None while it does not know the record."""
    pending: tuple[tuple[float, Values | None], ...] = ()
    """What search will know, and from when."""
    past: tuple[Edit, ...] = ()
    """The latest edits, oldest first."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about an object type."""

    type_id: str
    name: str
    singular: str
    label: str
    modified: str = "hs_lastmodifieddate"
    shown: tuple[str, ...] = ()
    """Properties answered when none are asked for, besides the three that always are."""
    needs_any: tuple[str, ...] = ()
    needs_all: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        return self.singular.upper()

    @property
    def aliases(self) -> tuple[str, ...]:
        return (self.type_id, self.name, self.singular)


COMPANIES = Kind("0-2", "companies", "company", "Company", shown=("name", "domain"), needs_any=("name", "domain"))
CONTACTS = Kind(
    "0-1",
    "contacts",
    "contact",
    "Contact",
    modified="lastmodifieddate",
    shown=("email", "firstname", "lastname"),
    needs_any=("email", "firstname", "lastname"),
)
DEALS = Kind(
    "0-3",
    "deals",
    "deal",
    "Deal",
    shown=("dealname", "amount", "closedate", "pipeline", "dealstage"),
    needs_all=("dealname", "dealstage"),
)
TICKETS = Kind(
    "0-5",
    "tickets",
    "ticket",
    "Ticket",
    shown=("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority"),
    needs_all=("subject", "hs_pipeline_stage"),
)
BUILT_IN = (CONTACTS, COMPANIES, DEALS, TICKETS)


class Table:
    def __init__(self, kind: Kind, definitions: list[Json], first_id: int, random: Random) -> None:
        self.kind = kind
        self.random = random
        self.definitions: dict[str, Json] = {}
        self.checks: dict[str, Check | None] = {}
        self.groups: dict[str, Json] = {}
        self.records: dict[str, Record] = {}
        self.merged_into: dict[str, str] = {}
        self.unique: dict[str, dict[str, str]] = {"email": {}} if kind is CONTACTS else {}
        self.version = 0
        """Another number whenever a search may find something else."""
        self.searches: dict[bytes, tuple[int, list[Record]]] = {}
        self._restless: dict[str, Record] = {}
        """Records that time will change: to be touched by HubSpot, or not yet in the index."""
        self._ids: list[int] = []
        self._last_id = first_id
        for definition in definitions:
            self.define(definition)

    # properties

    def define(self, definition: Json) -> None:
        self.version += 1
        name = definition["name"]
        self.definitions[name] = definition
        self.checks[name] = check_for(definition)
        if definition["hasUniqueValue"]:
            self.unique.setdefault(name, {})
        self.groups.setdefault(definition["groupName"], _group(definition["groupName"]))

    def undefine(self, name: str) -> None:
        """The property goes, and its values with it."""
        self.version += 1
        del self.definitions[name], self.checks[name]
        if name != "email":
            self.unique.pop(name, None)
        for record in self.records.values():
            if name in record.values:
                record.values = {key: value for key, value in record.values.items() if key != name}

    def upsertable(self, name: str) -> bool:
        """Unique properties, and contacts' e-mail although its definition says it is not."""
        return name in self.unique

    # records

    def next_id(self) -> str:
        self._last_id += 1 + int(self.random.random() * 9)
        self._ids.append(self._last_id)
        return str(self._last_id)

    def add(self, record: Record) -> None:
        self.records[record.id] = record
        self.version += 1
        if record.touch_at:
            self._restless[record.id] = record
        self.claim(record.id, record.values)

    def claim(self, record_id: str, values: Values) -> None:
        for name, holders in self.unique.items():
            value = values.get(name)
            if value:
                holders[value.casefold()] = record_id
        for address in values.get("hs_additional_emails", "").split(";") if "email" in self.unique else ():
            if address:
                self.unique["email"][address.casefold()] = record_id

    def release(self, record: Record) -> None:
        for name, holders in self.unique.items():
            held = [record.values.get(name, "")]
            if name == "email":
                held += record.values.get("hs_additional_emails", "").split(";")
            for value in held:
                if holders.get(value.casefold()) == record.id:
                    del holders[value.casefold()]

    def live(self, record_id: str) -> Record | None:
        record = self.records.get(record_id)
        return record if record and record.archived_at is None else None

    def resolve(self, record_id: str) -> Record | None:
        """As single calls see it: a merged record's old id leads to the one that survived."""
        while record_id in self.merged_into:
            record_id = self.merged_into[record_id]
        return self.live(record_id)

    def by_unique(self, name: str, value: str) -> Record | None:
        found = self.unique[name].get(value.casefold())
        return self.live(found) if found else None

    def starting_at(self, after: str | None) -> Iterator[Record]:
        """In the order of ids, from the record `after` on."""
        place = bisect_left(self._ids, int(after)) if after else 0
        for position in range(place, len(self._ids)):
            record = self.records.get(str(self._ids[position]))
            if record:
                yield record

    def forget(self, record_id: str) -> None:
        record = self.records.pop(record_id)
        self._restless.pop(record_id, None)
        self.version += 1
        self.release(record)

    # time

    def settle(self, record: Record, now: float, lag: float) -> None:
        """Carries out what time has brought: HubSpot's own touch, and the index catching up."""
        if record.touch_at and record.touch_at <= now:
            self._touch(record, lag)
        while record.pending and record.pending[0][0] <= now:
            (_, record.indexed), *rest = record.pending
            record.pending = tuple(rest)
            self.version += 1

    def settle_all(self, now: float, lag: float) -> None:
        for record in list(self._restless.values()):
            self.settle(record, now, lag)
            if not record.pending and not record.touch_at:
                del self._restless[record.id]

    def remember(self, key: bytes, found: tuple[int, list[Record]]) -> None:
        """The latest few searches."""
        self.searches.pop(key, None)
        self.searches[key] = found
        while len(self.searches) > MOST_SEARCHES:
            del self.searches[next(iter(self.searches))]

    def index(self, record: Record, now: float, lag: float) -> None:
        """Tells search about the record's present state, at once or after the lag."""
        seen = None if record.archived_at else record.values
        if lag <= 0:
            record.pending = ()
            record.indexed = seen
            self.version += 1
        else:
            record.pending = (*record.pending, (now + lag, seen))
            self._restless[record.id] = record

    def _touch(self, record: Record, lag: float) -> None:
        touched, record.touch_at = record.touch_at, 0.0
        stamp = iso(touched)
        if stamp > record.updated and record.archived_at is None:
            record.updated = stamp
            record.values = {**record.values, self.kind.modified: stamp}
            self.index(record, touched, lag)


def _group(name: str) -> Json:
    label = name.replace("_", " ").replace("information", " information").title().replace("  ", " ")
    return {"name": name, "label": label.strip(), "displayOrder": -1, "archived": False}
