"""Records by their ids. What the system refuses to look up is found by halves, so that one bad id holds up no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from syncline.contract import Permanent, RecordRejected, RemoteRecord, SynclineError
from syncline.ledger.models import Link
from syncline.ledger.records import Problem

from . import pages
from .ground import Ground
from .work import Refused

MOST_REFUSED = 20
"""Ids refused one by one while none was answered: then it is not the ids."""

REFUSED_ID = "refused_id"


@dataclass(frozen=True, slots=True)
class Asked:
    """`refused`: those that could not be asked for, with the reason."""

    records: list[RemoteRecord]
    refused: list[Refused]


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


def asked(ground: Ground, ids: Sequence[str]) -> Asked:
    """Each as it is now: what is not there any more counts as archived, what answers with another id was merged into that."""
    halves = _Halves(ground)
    halves.ask(ids)
    records: dict[str, RemoteRecord] = {}
    for one in ids:
        record = halves.found.get(one)
        if one in halves.refused:
            continue
        if record is None:
            records[one] = RemoteRecord(one, {}, archived=True)
        elif record.id != one:
            known = records.get(record.id, record)
            records[record.id] = replace(known, merged=(*known.merged, one))
        else:
            records.setdefault(one, record)
    return Asked(pages.tidy(records.values())[0], [_refused(one, error) for one, error in halves.refused.items()])


def _fetch(ground: Ground, ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
    job, flow = ground.job, ground.flow
    return job.connector.call.fetch(
        session=job.session,
        object_type=job.object_type,
        ids=list(ids),
        properties=list(flow.inbound.properties),
        associations=list(dict.fromkeys(r.object_type for r in flow.inbound.references)),
        history=flow.history,
    )


def _refused(id_: str, error: SynclineError) -> Refused:
    problem = Problem(REFUSED_ID, f"The account refused to look it up: {error}", group=REFUSED_ID)
    return Refused(RemoteRecord(id_, {}), Link.State.REJECTED, problem, "rejected")
