"""Records of ours that were sent to be created there and have no answer yet: what arrives without a link may be one of them.

A link says *create* before its request leaves, and as long as nobody knows what became of it. So whatever such a request made
is younger than its mark, and a lot that finds no mark has nothing of the kind.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from django.db import connection
from django.db.backends.utils import CursorWrapper

from syncline.contract import RemoteRecord, Value
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.ledger.records import Problem
from syncline.syncs.engine import fingerprint

from . import local, noting, turns, window
from .ground import Ground
from .parts import BEING_CREATED, PATIENCE, PERHAPS_OURS
from .work import Inflow, Later, Refused

COMPARED: Final = 200
"""Creations whose values are compared; when more are open, what arrives may be any of them."""

# What was sent by a worker that is still at it has its answer in a moment.
_SELECT: Final = """
SELECT l.id, l.dataset, l.local_key, l.created, l.state,
       l.state = 'uncertain' AND coalesce(l.uncertain_at > clock_timestamp(), true) AND EXISTS (
           SELECT 1 FROM syncline_runpart p JOIN syncline_run r ON r.id = p.run_id JOIN syncline_sync s ON s.id = r.sync_id
           WHERE p.state = 'leased' AND p.lease_until > clock_timestamp() AND p.kind NOT IN ('pull', 'fetch', 'missing')
             AND s.connection_id = l.connection_id AND s.object_type = l.object_type AND s.dataset = l.dataset)
FROM syncline_link l
WHERE l.connection_id = %s AND l.object_type = %s AND l.remote_id IS NULL
"""

_OPEN = f"{_SELECT} AND l.uncertain_op = 'create' ORDER BY l.id LIMIT %s"

_NAMED = f"""{_SELECT} AND l.state = 'uncertain'
AND (l.dataset, l.local_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"""  # noqa: S608 - of our own

_SENT = "SELECT link_id, sent::text FROM syncline_entry WHERE link_id = ANY(%s) AND op = 'create' AND status = 'unknown'"


@dataclass(frozen=True, slots=True)
class Creation:
    """`since`: not sent before. `answered_soon`: it is on its way; `settled`: no push goes on with it, a person has to decide."""

    link_id: int
    dataset: str
    local_key: str
    since: dt.datetime
    state: str
    answered_soon: bool

    @property
    def settled(self) -> bool:
        return self.state != Link.State.UNCERTAIN


Texts = Mapping[str, frozenset[str]]


@dataclass
class Creations:
    """Those that were open before the links of a lot were looked at; what they sent is asked for once it matters."""

    ground: Ground
    open: Sequence[Creation] = ()
    _sent: Mapping[int, Texts] | None = field(default=None, repr=False)

    def doubts(self, records: Sequence[RemoteRecord]) -> dict[str, Later | Refused]:
        """What becomes of those of these unplaced records that may be one of ours, by remote id."""
        named = self._named(records)
        every = {record.id: named.get(record.id) or self._suspects(record) for record in records}
        suspected = {id_: found for id_, found in every.items() if found}
        if not suspected:
            return {}
        kept = Arrival.objects.filter(sync_id=self.ground.flow.sync_id, remote_id__in=list(suspected))
        arrivals = {one.remote_id: one for one in kept}
        return {
            record.id: _verdict(self.ground.flow, record, suspected[record.id], arrivals.get(record.id))
            for record in records
            if record.id in suspected and not (record.id in arrivals and arrivals[record.id].create)
        }

    def _named(self, records: Sequence[RemoteRecord]) -> dict[str, list[Creation]]:
        """Of another dataset, and sent by our own key: whose it is stands on it before the answer is here."""
        names = {record.id: name for record in records if (name := self.ground.finder.key_of_another(record))}
        if not names:
            return {}
        scope, (datasets, keys) = self.ground.flow.scope, zip(*names.values(), strict=True)
        with connection.cursor() as cursor:
            cursor.execute(_NAMED, [scope.connection_id, scope.object_type, list(datasets), list(keys)])
            found = {(one.dataset, one.local_key): one for one in (Creation(*row) for row in cursor.fetchall())}
        return {id_: [found[name]] for id_, name in names.items() if name in found}

    def _suspects(self, record: RemoteRecord) -> list[Creation]:
        if len(self.open) > COMPARED:
            return [one for one in self.open if _younger(record, one)]
        return [one for one in self.open if _younger(record, one) and self._alike(record, one)]

    def _alike(self, record: RemoteRecord, one: Creation) -> bool:
        if self._sent is None:
            self._sent = _sent(self.ground, self.open)
        return alike(record.properties, self._sent.get(one.link_id, {}), self.ground.finder.identifying)


@dataclass(frozen=True, slots=True)
class New:
    """`ids`: of records that had no link and that nobody else takes in meanwhile."""

    ids: frozenset[str]
    creations: Creations


def begin(cursor: CursorWrapper, ground: Ground, records: Sequence[RemoteRecord]) -> New:
    """At the beginning of a lot, before anything is locked."""
    ids = turns.take(cursor, ground, records)
    return New(ids, open_(cursor, ground) if ids else Creations(ground))


def open_(cursor: CursorWrapper, ground: Ground) -> Creations:
    """Before the links are looked at: what is answered in between has its link by then."""
    scope = ground.flow.scope
    cursor.execute(_OPEN, [scope.connection_id, scope.object_type, COMPARED + 1])
    return Creations(ground, [Creation(*row) for row in cursor.fetchall()])


def _younger(record: RemoteRecord, one: Creation) -> bool:
    slack = dt.timedelta(seconds=window.CLOCKS_APART)
    return record.modified_at is None or record.modified_at >= one.since - slack


def alike(properties: Mapping[str, Value], sent: Texts, identifying: Collection[str]) -> bool:
    """Whether the record has anything of what was sent, and no other identifier. True when there is nothing to compare."""
    shared = [(name, bool(texts(properties[name]) & sent[name])) for name in sent if texts(properties.get(name))]
    if any(name in identifying and not same for name, same in shared):
        return False
    return not shared or any(same for _, same in shared)


def texts(value: Value) -> frozenset[str]:
    """In what form it may stand there: as it is, or with other signs and capitals. None of what says nothing."""
    if value is None or isinstance(value, bool) or value in ("", ()):
        return frozenset()
    plain = "".join(sign for sign in str(value).casefold() if sign.isalnum())
    return frozenset({fingerprint(value), plain or str(value)})


def _sent(ground: Ground, open_: Sequence[Creation]) -> dict[int, Texts]:
    """What was noted as sent without an answer, and what would be sent now: a worker that died has noted nothing."""
    found: dict[int, dict[str, frozenset[str]]] = defaultdict(dict)
    for link_id, values in [*_noted(open_), *_as_now(ground, open_)]:
        mine = found[link_id]
        for name, value in values.items():
            if some := texts(value):
                mine[name] = mine.get(name, frozenset()) | some
    return dict(found)


def _noted(open_: Sequence[Creation]) -> list[tuple[int, Mapping[str, Value]]]:
    with connection.cursor() as cursor:
        cursor.execute(_SENT, [[one.link_id for one in open_]])
        return [(link_id, orjson.loads(sent)) for link_id, sent in cursor.fetchall()]


def _as_now(ground: Ground, open_: Sequence[Creation]) -> list[tuple[int, Mapping[str, Value]]]:
    if ground.settling is None:
        return []
    mine = {one.local_key: one.link_id for one in open_ if one.dataset == ground.flow.scope.dataset}
    rows = local.read(ground.settling.source, list(mine))
    return [(mine[key], ground.settling.mapping.map(ours.values).properties) for key, ours in rows.items() if key in mine]


def _verdict(flow: Inflow, record: RemoteRecord, suspects: Sequence[Creation], arrival: Arrival | None) -> Later | Refused:
    """It waits as long as an answer may come, and is then for a person."""
    going = [one for one in suspects if not one.settled]
    if not going or _waited_enough(arrival):
        return _refused(flow, record, Link.State.AMBIGUOUS, PERHAPS_OURS, "ambiguous", suspects)
    if flow.two_way or any(one.answered_soon for one in going):
        return Later(record, noting.PAUSE)
    return _refused(flow, record, Link.State.WAITING, BEING_CREATED, "waiting", going)


def _waited_enough(arrival: Arrival | None) -> bool:
    if arrival is None or arrival.code not in (noting.PUT_OFF, BEING_CREATED):
        return False
    return arrival.since < dt.datetime.now(dt.UTC) - PATIENCE


def _refused(flow: Inflow, record: RemoteRecord, state: str, code: str, counter: str, suspects: Sequence[Creation]) -> Refused:
    ours = ", ".join(
        one.local_key if one.dataset == flow.scope.dataset else f"{one.dataset} {one.local_key}" for one in suspects[:5]
    )
    said = f"It may be our record {ours}, which was sent there to be created and got no answer."
    problem = Problem(code, f"{said} {_NEXT[code]}", group=code)
    return Refused(record, state, problem, counter, None, flow.glances.of(record).brief)


_NEXT: Final = {
    BEING_CREATED: "It is looked at again by each pull, and taken in once a push has found out.",
    PERHAPS_OURS: "Link it to that one, or create it as a record of its own.",
}
