"""Saboteurs of bulk jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from syncline.contract import (
    BulkJob,
    BulkResult,
    Collected,
    ObjectType,
    OutcomeUnknown,
    Permanent,
    Session,
    Status,
    hookimpl,
)
from syncline_notes.connector import Notes

from .breaks import breaks


class Collecting(Notes):
    """Changes what comes out of `collect`."""

    def told(self, results: list[BulkResult]) -> list[BulkResult]:
        return results

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        for page in super().collect(session, object_type, token, keys):
            yield replace(page, results=self.told(list(page.results)))


@breaks("bulk-results")
class MixesUpIds(Collecting):
    def told(self, results: list[BulkResult]) -> list[BulkResult]:
        ids = [r.remote_id for r in results if r.remote_id]
        if len(ids) < 3:
            return results
        turned = iter(ids[::-1])
        return [replace(r, remote_id=next(turned)) if r.remote_id else r for r in results]


@breaks("bulk-results")
class ForgetsWhatWasRefused(Collecting):
    def told(self, results: list[BulkResult]) -> list[BulkResult]:
        return [r for r in results if r.status is not Status.REJECTED]


@breaks("bulk-results")
class SaysUnknownOfWhatIsNotThere(Collecting):
    def told(self, results: list[BulkResult]) -> list[BulkResult]:
        return [replace(r, status=Status.UNKNOWN) if r.status is Status.NOT_SENT else r for r in results]


@breaks("bulk-once")
class SendsAJobAgain(Notes):
    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        return super().submit(session, object_type, replace(job, perhaps_sent=False))


@breaks("bulk-again")
class ForgetsAJobOnceCollected(Notes):
    def __init__(self) -> None:
        self._seen: set[str] = set()

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        wanted = list(keys)
        for page in super().collect(session, object_type, token, wanted):
            if token in self._seen:
                yield Collected([BulkResult(key, Status.NOT_SENT) for key in wanted])
            else:
                yield page
                if page.after is None:
                    self._seen.add(token)


@breaks("bulk-refusal")
class DoubtsARefusal(Notes):
    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        try:
            return super().submit(session, object_type, job)
        except Permanent as error:
            raise OutcomeUnknown(str(error)) from error
