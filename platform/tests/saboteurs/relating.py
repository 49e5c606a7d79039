"""Saboteurs that leave out or mix up what a record brings along, and which records are archived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from syncline.contract import ObjectType, Page, PullRequest, Session, hookimpl
from syncline_notes.connector import PAGE, Notes

from .breaks import breaks
from .pulling import Asking, Pulling


@breaks("pull-archived")
class FlagsNothing(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield replace(page, records=[replace(one, archived=False) for one in page.records])


@breaks("pull-archived")
class ListsWhatIsThereInstead(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return request if request.since else replace(request, archived=False)


@breaks("archived-since")
class DoesNotTakeAnArchiveForAChange(Notes):
    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        for page in super().pull(session, object_type, request):
            unseen = request.archived and request.since
            yield replace(page, records=[]) if unseen else page


@breaks("merged")
class DoesNotNameMergedOnes(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield replace(page, records=[replace(one, merged=()) for one in page.records])


@breaks("associations")
class PullsNoAssociations(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return replace(request, associations=())


@breaks("associations")
class ForgetsThemForWhatChanged(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return replace(request, associations=()) if request.since else request


@breaks("associations")
class GivesTheFirstAssociationsOnly(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            few = [{kind: ids[:PAGE] for kind, ids in one.associations.items()} for one in page.records]
            yield replace(page, records=[replace(one, associations=a) for one, a in zip(page.records, few, strict=True)])


@breaks("history")
class TellsTheOldestFirst(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            turned = [{name: past[::-1] for name, past in one.history.items()} for one in page.records]
            yield replace(page, records=[replace(one, history=h) for one, h in zip(page.records, turned, strict=True)])
