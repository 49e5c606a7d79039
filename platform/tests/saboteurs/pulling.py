"""Saboteurs that lose, repeat or spoil what they pull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from syncline.contract import ObjectType, Page, PullRequest, RemoteRecord, Session, Value, hookimpl
from syncline_notes.calls import get
from syncline_notes.connector import PAGE, Notes, record

from .breaks import breaks
from .moving import filled

INSTANT = timedelta(microseconds=1)


class Pulling(Notes):
    """Changes the pages."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return self.changed(super().pull(session, object_type, request))

    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return pages


@breaks("pull-resume")
class GivesThePositionBefore(Notes):
    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        before = None
        for page in super().pull(session, object_type, request):
            yield page if request.since else replace(page, position=before)
            before = page.position


@breaks("pull-lazy")
class ReadsAllFirst(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return iter(list(pages))


@breaks("empty-values")
class PullsNothingOfWhatIsEmpty(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield replace(page, records=[replace(one, properties=filled(one)) for one in page.records])


@breaks("pull-since")
class SeesOnlyNewOnes(Pulling):
    """The classic: what was listed once is known for ever."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        self.known: set[str] = getattr(self, "known", set())
        for page in super().pull(session, object_type, request):
            if request.since is None:
                self.known |= {r.id for r in page.records}
            yield page if request.since is None else replace(page, records=[r for r in page.records if r.id not in self.known])


@breaks("records-fit")
class PullsYesAndNoAsText(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield Page(
                [replace(r, properties={n: spoken(v) for n, v in r.properties.items()}) for r in page.records], page.position
            )


def spoken(value: Value) -> Value:
    return ("yes" if value else "no") if isinstance(value, bool) else value


class Asking(Notes):
    """Asks for something else than it was asked for."""

    def asked(self, request: PullRequest) -> PullRequest:
        return request

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return super().pull(session, object_type, self.asked(request))


class Whole(Notes):
    """Makes pages of its own, where `own` says so, from all there is at the time."""

    def own(self, request: PullRequest) -> bool:
        raise NotImplementedError

    def pages(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        raise NotImplementedError

    def all(self, session: Session, object_type: ObjectType, request: PullRequest) -> list[RemoteRecord]:
        pages = super().pull(session, object_type, replace(request, position=None))
        return [one for page in pages for one in page.records]

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        make = self.pages if self.own(request) else super().pull
        return make(session, object_type, request)


class Remembering(Notes):
    """Hands out a number for a position and keeps what it stands for."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def own(self, request: PullRequest) -> bool:
        raise NotImplementedError

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        if not self.own(request):
            yield from super().pull(session, object_type, request)
            return
        known = self.places[request.position] if request.position else None
        for page in super().pull(session, object_type, replace(request, position=known)):
            place = str(len(self.places)) if page.position else None
            if place and page.position:
                self.places[place] = page.position
            yield replace(page, position=place)


@breaks("pull-since")
class ListsAllInstead(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return request if request.until else replace(request, since=None)


@breaks("pull-resume")
class RemembersItsPlace(Remembering):
    def own(self, request: PullRequest) -> bool:
        return request.since is None


@breaks("since-resume")
class RemembersItsPlaceInWhatChanged(Remembering):
    def own(self, request: PullRequest) -> bool:
        return request.since is not None


class Believing(Notes):
    """Asks once for each page."""

    def goes_on(self, notes: Sequence[object]) -> bool:
        raise NotImplementedError

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        if request.since or request.archived or request.associations or request.history:
            yield from super().pull(session, object_type, request)
            return
        position, more = request.position, True
        while more:
            answer = get(session, "/notes", after=position or "", limit=str(PAGE))
            position = answer["next"] if self.goes_on(answer["notes"]) else None
            more = position is not None
            yield Page([record(note, object_type, request.properties) for note in answer["notes"]], position)


@breaks("pull-empty-page")
class TakesAnEmptyPageForTheEnd(Believing):
    def goes_on(self, notes: Sequence[object]) -> bool:
        return bool(notes)


@breaks("pull-empty-page")
class PassesOverAnEmptyPage(Believing):
    def goes_on(self, notes: Sequence[object]) -> bool:
        return True


class Offsets(Whole):
    """Counts how many records it has given, and goes on after so many."""

    def pages(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        start, more = int(request.position or 0), True
        while more:
            every = self.all(session, object_type, request)
            more = start + PAGE < len(every)
            yield Page(every[start : start + PAGE], str(start + PAGE) if more else None)
            start += PAGE


@breaks("pull-changing")
class PagesByOffset(Offsets):
    def own(self, request: PullRequest) -> bool:
        return request.since is None


@breaks("pull-until")
class PagesWhatChangedByOffset(Offsets):
    def own(self, request: PullRequest) -> bool:
        return request.until is not None


@breaks("pull-changing")
class ListsTheLastChangedLast(Whole):
    """What changes meanwhile comes again."""

    def own(self, request: PullRequest) -> bool:
        return request.since is None and not request.archived and request.position is None

    def pages(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        given: tuple[datetime, int] | None = None
        while True:
            every = sorted((place(one), one.id, one) for one in self.all(session, object_type, request))
            rest = [one for where, _, one in every if given is None or where > given][: PAGE + 1]
            page = rest[:PAGE]
            yield Page(page, page[-1].id if len(rest) > PAGE else None)
            if len(rest) <= PAGE:
                return
            given = place(page[-1])


def place(one: RemoteRecord) -> tuple[datetime, int]:
    return one.modified_at or datetime.min, int(one.id)


@breaks("pull-until")
class ChasesItsTail(Whole):
    """Goes from change to change, whatever `until` says."""

    def own(self, request: PullRequest) -> bool:
        return request.until is not None and request.until != request.since

    def pages(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        given: tuple[datetime, int] | None = None
        while True:
            every = self.all(session, object_type, replace(request, until=None))
            rest = sorted((one for one in every if given is None or place(one) > given), key=place)[:PAGE]
            if not rest:
                return
            yield Page(rest, rest[-1].id)
            given = place(rest[-1])


@breaks("pull-until")
class LeavesOutTooMuch(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return replace(request, until=request.since) if request.until else request


@breaks("pull-moment")
class BeginsAfterTheMoment(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return replace(request, since=request.since + INSTANT) if request.since else request


@breaks("pull-moment")
class EndsBeforeTheMoment(Asking):
    def asked(self, request: PullRequest) -> PullRequest:
        return replace(request, until=request.until - INSTANT) if request.until else request


@breaks("pull-moment")
class GoesFromMomentToMoment(Whole):
    def own(self, request: PullRequest) -> bool:
        return request.since is not None and request.position is None

    def pages(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        while True:
            page = sorted(self.all(session, object_type, request), key=place)[:PAGE]
            yield Page(page, "0" if page else None)
            if not page:
                return
            request = replace(request, since=place(page[-1])[0] + INSTANT)


@breaks("modified-at")
class SaysNotWhen(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield replace(page, records=[replace(one, modified_at=None) for one in page.records])


class Following(Notes):
    """Changes the pages of what is followed."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        pages = super().pull(session, object_type, request)
        return self.followed(pages) if request.follow else pages

    def followed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return pages


@breaks("follow")
class KeepsSilent(Following):
    """Says nothing while nothing happens, so that nobody knows whether it lives."""

    def followed(self, pages: Iterator[Page]) -> Iterator[Page]:
        yield next(pages)
        yield from (page for page in pages if page.records)


@breaks("follow")
class ReadsOnBeforeItGivesAPage(Following):
    """Does not even come back from the call; ends when nobody answers any more."""

    def followed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return iter(list(pages))


@breaks("follow")
class EndsWhenNothingHappens(Following):
    def followed(self, pages: Iterator[Page]) -> Iterator[Page]:
        yield next(pages)
        for page in pages:
            yield page
            if not page.records:
                return


@breaks("follow")
class BeginsAnewWithEachStream(Notes):
    """Forgets what was changed while nobody followed."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return super().pull(session, object_type, replace(request, position=None) if request.follow else request)
