"""Saboteurs that spoil a log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from syncline.contract import Change, ObjectType, Page, PullRequest, PushResult, RemoteRecord, Session, hookimpl
from syncline_notes.connector import Notes

from .breaks import breaks


class Following(Notes):
    """Changes the pages of the log."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        pages = super().pull(session, object_type, request)
        return self.changed(pages, request) if object_type.log else pages

    def changed(self, pages: Iterator[Page], request: PullRequest) -> Iterator[Page]:
        return (replace(page, records=[self.spoilt(record) for record in page.records]) for page in pages)

    def spoilt(self, record: RemoteRecord) -> RemoteRecord:
        return record


@breaks("log-round-trip")
class LosesTheHeaders(Following):
    def spoilt(self, record: RemoteRecord) -> RemoteRecord:
        return replace(record, message=replace(record.message, headers={})) if record.message else record


@breaks("log-round-trip")
class TellsAnothersPlace(Notes):
    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        results = list(super().push(session, object_type, changes))
        if not object_type.log or len({change.message and change.message.key for change in changes}) != 3:
            return results
        places = [result.remote_id for result in results]
        return [replace(result, remote_id=place) for result, place in zip(results, places[1:] + places[:1], strict=True)]


@breaks("log-resume")
class CountsFromBefore(Following):
    """The position of the last message, not the one behind it."""

    def changed(self, pages: Iterator[Page], request: PullRequest) -> Iterator[Page]:
        for page in pages:
            yield replace(page, position=None if page.position is None else str(max(int(page.position) - 1, 0)))


@breaks("log-follow")
class WaitsInSilence(Following):
    def changed(self, pages: Iterator[Page], request: PullRequest) -> Iterator[Page]:
        for page in pages:
            if request.follow and request.position and not page.records:
                time.sleep(7.5)
            yield page


@breaks("log-odd-messages")
class TakesNoValueForOne(Following):
    def spoilt(self, record: RemoteRecord) -> RemoteRecord:
        return replace(record, archived=False)
