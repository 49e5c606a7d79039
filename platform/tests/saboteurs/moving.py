"""Saboteurs that lose, mix up, repeat or spoil records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from syncline.contract import (
    Change,
    Code,
    DatasetInfo,
    ObjectType,
    Op,
    Page,
    PullRequest,
    PushResult,
    RemoteRecord,
    Session,
    Status,
    SuggestedMapping,
    SuggestedRule,
    Value,
    hookimpl,
)
from syncline_notes.connector import KEY, Notes, post, record

from .breaks import breaks


class Pushing(Notes):
    """Changes what goes into `push` and what comes out."""

    def sent(self, changes: Sequence[Change]) -> Sequence[Change]:
        return changes

    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return results

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        return self.came(super().push(session, object_type, self.sent(changes)))


@breaks("results-by-key")
class FindsResultsByPosition(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        if any(r.status is Status.REJECTED for r in results):
            return results
        return [replace(r, remote_id=other.remote_id) for r, other in zip(results, reversed(results), strict=True)]


@breaks("results-by-key")
class ForgetsAResult(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return results[:-1] if len(results) == 3 and all(r.status is Status.CREATED for r in results) else results

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        """Pages of four, so that only the check about results writes three at once."""
        return [replace(o, page_size=4) for o in super().discover(session)]


@breaks("upsert-once")
class CreatesInsteadOfUpserting(Pushing):
    def sent(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [self.created(c) if c.op is Op.UPSERT else c for c in changes]

    def created(self, c: Change) -> Change:
        return replace(c, op=Op.CREATE, properties={**c.properties, KEY.name: c.unique_key})


@breaks("missing-record")
class DoesNotSayNotFound(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return [self.vague(r) for r in results]

    def vague(self, r: PushResult) -> PushResult:
        missing = r.error is not None and r.error.code is Code.NOT_FOUND
        return replace(r, error=replace(r.error, code=Code.OTHER)) if r.error and missing else r


@breaks("bad-record")
class RefusesTheWholeBatch(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        errors = [r.error for r in results if r.error]
        return [replace(r, status=Status.REJECTED, error=errors[0]) for r in results] if errors else results


@breaks("bad-record")
class GivesNoReason(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return [replace(r, error=None) if r.error and r.error.code is Code.INVALID_CHOICE else r for r in results]


@breaks("clear")
class SendsNoEmptyValues(Pushing):
    def sent(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [replace(c, properties={n: v for n, v in c.properties.items() if v is not None}) for c in changes]


@breaks("batch-size")
class OverstatesTheBatch(Notes):
    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return [replace(o, batch_sizes=dict.fromkeys(o.batch_sizes, 50)) for o in super().discover(session)]


@breaks("batch-size")
class FetchesAllAtOnce(Notes):
    @hookimpl
    def fetch(
        self, session: Session, object_type: ObjectType, ids: Sequence[str], properties: Sequence[str]
    ) -> Mapping[str, RemoteRecord]:
        kinds = {name: p.kind for name in properties if (p := object_type.property(name))}
        answer = post(session, "/notes/read", {"ids": list(ids)}, repeatable=True)
        return {note["id"]: record(note, kinds) for note in answer["notes"]}


class Fetching(Notes):
    @hookimpl
    def fetch(
        self, session: Session, object_type: ObjectType, ids: Sequence[str], properties: Sequence[str]
    ) -> Mapping[str, RemoteRecord]:
        found = super().fetch(session, object_type, ids, properties)
        return self.changed(dict(found), ids)

    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return found


@breaks("round-trip")
class ReadsNumbersAsText(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: replace(r, properties={n: text(v) for n, v in r.properties.items()}) for key, r in found.items()}


def text(value: Value) -> Value:
    return str(value) if isinstance(value, Decimal) else value


@breaks("fetch-gone")
class InventsWhatIsGone(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: found.get(key, RemoteRecord(key, {})) for key in ids}


class Pulling(Notes):
    """Changes the pages."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return self.changed(super().pull(session, object_type, request))

    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return pages


@breaks("pull-resume")
class GivesThePositionBefore(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        before = None
        for page in pages:
            yield replace(page, position=before)
            before = page.position


@breaks("pull-lazy")
class ReadsAllFirst(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        return iter(list(pages))


@breaks("pull-since")
class ListsAllInstead(Pulling):
    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return super().pull(session, object_type, replace(request, since=None))


@breaks("pull-since")
class SeesOnlyNewOnes(Pulling):
    """The classic: the highest id known serves as the moment."""

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        for page in super().pull(session, object_type, replace(request, since=None)):
            self.known = getattr(self, "known", {})
            kept = page.records if request.since is None else [r for r in page.records if r.id not in self.known]
            self.known |= {r.id: True for r in page.records}
            yield replace(page, records=kept)


@breaks("records-fit")
class PullsYesAndNoAsText(Pulling):
    def changed(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            yield Page(
                [replace(r, properties={n: spoken(v) for n, v in r.properties.items()}) for r in page.records], page.position
            )


def spoken(value: Value) -> Value:
    return ("yes" if value else "no") if isinstance(value, bool) else value


@breaks("match")
class TakesTheFirstOfSeveral(Notes):
    @hookimpl
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return {value: ids[:1] for value, ids in super().match(session, object_type, step, values).items()}


@breaks("suggested-mapping")
class SuggestsToAnyone(Notes):
    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        return super().suggest_mapping(replace(dataset, key="diary.entry"), object_type)


@breaks("suggested-mapping")
class SuggestsWhatIsNotThere(Notes):
    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        known = super().suggest_mapping(dataset, object_type)
        return replace(known, rules=(*known.rules, SuggestedRule("subtitle", source="headline"))) if known.rules else known
