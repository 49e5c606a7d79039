"""The vendor in memory with bulk jobs: a job is carried out when it is handed in, and ends when it was asked after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from syncline.contract import (
    BulkJob,
    BulkResult,
    Capability,
    Change,
    Collected,
    ConnectorInfo,
    ObjectType,
    Session,
    Status,
    hookimpl,
)

from .vendor import Fake, Vendor

Answer = Callable[[BulkResult], BulkResult]


@dataclass
class Carried:
    """A job as the vendor has it. `looks`: how often it is still going on when asked."""

    name: str
    match_by: str
    keys: list[str]
    results: dict[str, BulkResult]
    looks: int


@dataclass
class Jobs:
    """`refuse`: raised for the next job instead of taking it; `lose`: raised after it was taken. `meanwhile`: called whenever
    a job is asked after. `change`: what the vendor says of each record."""

    limit: int = 50
    looks: int = 0
    match: tuple[str, ...] = ()
    refuse: list[Exception] = field(default_factory=list)
    lose: list[Exception] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    change: Answer = lambda result: result
    skip: set[str] = field(default_factory=set)
    note: str = ""
    taken: list[Carried] = field(default_factory=list)
    asked: list[BulkJob] = field(default_factory=list)


class BulkVendor(Vendor):
    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()

    def types(self) -> list[ObjectType]:
        return [replace(one, bulk_rows=self.jobs.limit, bulk_match=self.jobs.match) for one in super().types()]

    def take(self, object_type: ObjectType, job: BulkJob) -> str:
        jobs = self.jobs
        jobs.asked.append(job)
        if jobs.refuse:
            raise jobs.refuse.pop(0)
        if not (job.perhaps_sent and any(one.name == job.name for one in jobs.taken)):
            jobs.taken.append(self._carried(object_type, job))
        if jobs.lose:
            raise jobs.lose.pop(0)
        return next(str(number) for number, one in enumerate(jobs.taken) if one.name == job.name)

    def _carried(self, object_type: ObjectType, job: BulkJob) -> Carried:
        changes = list(job.changes)
        results = [self._bulk(object_type, change) for change in changes if change.local_key not in self.jobs.skip]
        keys = [str(change.unique_key) for change in changes]
        return Carried(job.name, job.match_by, keys, {r.unique_key: r for r in results}, self.jobs.looks)

    def _bulk(self, object_type: ObjectType, change: Change) -> BulkResult:
        [told] = self.carry_out(object_type, [change])
        return self.jobs.change(BulkResult(str(change.unique_key), told.status, told.remote_id, told.error))

    def tell(self, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        job = self.jobs.taken[int(token)]
        self.jobs.meanwhile()
        if job.looks:
            job.looks -= 1
            yield Collected(after=0.02)
            return
        if self.jobs.note:
            yield Collected(note=self.jobs.note)
        for key in keys:
            yield Collected([job.results.get(key, BulkResult(key, Status.NOT_SENT))])


class BulkFake(Fake):
    vendor: BulkVendor

    @hookimpl
    def describe(self) -> ConnectorInfo:
        info = super().describe()
        return replace(info, capabilities=info.capabilities | {Capability.SUBMIT, Capability.COLLECT})

    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        return self.vendor.take(object_type, job)

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        return self.vendor.tell(token, keys)


def sent_in_bulk(jobs: Sequence[Carried]) -> int:
    return sum(len(job.keys) for job in jobs)
