"""Records by their ids. What the system refuses to look up is found by halves, so that one bad id holds up no other.

A connector without `fetch` can only list: then they are looked for in one more listing of everything. What a whole listing
lacked counts as gone when that one lacks it too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from syncline.contract import Page, Permanent, PullRequest, RecordRejected, RemoteRecord, SynclineError
from syncline.contract.connector import Capability
from syncline.ledger.models import Link
from syncline.ledger.records import Problem

from . import pages
from .ground import Ground
from .work import Refused

MOST_REFUSED = 20
"""Ids refused one by one while none was answered: then it is not the ids."""

REFUSED_ID = "refused_id"


LISTED = 10_000
"""Ids that are looked for together in a listing of everything, where nothing can be asked for by its id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of these `ids`. `at`: when they were asked for, by `time.monotonic`. `refused`: those that could not be."""

    ids: Sequence[str]
    at: float
    records: list[RemoteRecord]
    refused: list[Refused]


def asked(ground: Ground, lots: Iterable[Sequence[str]]) -> Iterator[Asked]:
    """Each as it is now: what is not there any more counts as archived, what answers with another id was merged into that."""
    if Capability.FETCH in ground.job.connector.implements:
        for ids in lots:
            yield _by_id(ground, ids)
        return
    wanted = chain.from_iterable(lots)
    while some := list(islice(wanted, LISTED)):
        yield from _by_listing(ground, some)


@dataclass
class _Halves:
    ground: Ground
    found: dict[str, RemoteRecord] = field(default_factory=dict)
    refused: dict[str, SynclineError] = field(default_factory=dict)
    answered: bool = False

    def ask(self, ids: Sequence[str]) -> None:
        try:
            self.found |= _fetch(self.ground, ids)
            self.answered = True
        except (Permanent, RecordRejected) as error:
            self._halve(ids, error)

    def _halve(self, ids: Sequence[str], error: SynclineError) -> None:
        if len(ids) == 1:
            self.refused[ids[0]] = error
            return
        if len(self.refused) >= MOST_REFUSED and not self.answered:
            raise error
        middle = len(ids) // 2
        self.ask(ids[:middle])
        self.ask(ids[middle:])


def _by_id(ground: Ground, ids: Sequence[str]) -> Asked:
    at, halves = time.monotonic(), _Halves(ground)
    halves.ask(ids)
    answered = [one for one in ids if one not in halves.refused]
    refused = [_refused(one, error) for one, error in halves.refused.items()]
    return Asked(ids, at, _records(answered, halves.found), refused)


def _by_listing(ground: Ground, ids: Sequence[str]) -> Iterator[Asked]:
    """One more listing of everything, of which all but these is passed over."""
    at, wanted = time.monotonic(), set(ids)
    found: dict[str, RemoteRecord] = {}
    for page in pages.watched(_everything(ground), None):
        ground.job.alive()
        for record in page.records:
            found |= dict.fromkeys(wanted.intersection((record.id, *record.merged)), record)
    for some in pages.batched(ids, pages.LOT):
        yield Asked(some, at, _records(some, found), [])


def _records(ids: Sequence[str], found: Mapping[str, RemoteRecord]) -> list[RemoteRecord]:
    records: dict[str, RemoteRecord] = {}
    for one in ids:
        record = found.get(one)
        if record is None:
            records[one] = RemoteRecord(one, {}, archived=True)
        elif record.id != one:
            known = records.get(record.id, record)
            records[record.id] = replace(known, merged=tuple(dict.fromkeys((*known.merged, one))))
        else:
            records.setdefault(one, record)
    return pages.tidy(records.values())[0]


def _everything(ground: Ground) -> Iterator[Page]:
    job, flow = ground.job, ground.flow
    request = PullRequest(flow.inbound.properties, associations=flow.referred, history=flow.history)
    return iter(job.connector.call.pull(session=job.session, object_type=job.object_type, request=request))


def _fetch(ground: Ground, ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
    job, flow = ground.job, ground.flow
    return job.connector.call.fetch(
        session=job.session,
        object_type=job.object_type,
        ids=list(ids),
        properties=list(flow.inbound.properties),
        associations=list(flow.referred),
        history=flow.history,
    )


def _refused(id_: str, error: SynclineError) -> Refused:
    problem = Problem(REFUSED_ID, f"The account refused to look it up: {error}", group=REFUSED_ID)
    return Refused(RemoteRecord(id_, {}), Link.State.REJECTED, problem, "rejected")
