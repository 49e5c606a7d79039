"""Saboteurs that lose, mix up, repeat or spoil records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from syncline.contract import (
    Change,
    Code,
    ConfigError,
    DatasetInfo,
    ObjectType,
    Op,
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
from syncline_notes.calls import post
from syncline_notes.connector import KEY, Notes, record

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
    """Of an update: for what is to be taken away another check looks."""

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        push = super().push if changes[0].op is Op.UPDATE else Notes().push
        return push(session, object_type, changes)

    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return [self.vague(r) for r in results]

    def vague(self, r: PushResult) -> PushResult:
        missing = r.error is not None and r.error.code is Code.NOT_FOUND
        return replace(r, error=replace(r.error, code=Code.OTHER)) if r.error and missing else r


@breaks("bad-record")
class RefusesTheWholeBatch(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        errors = [r.error for r in results if r.error and r.error.code is not Code.NOT_FOUND]
        return [replace(r, status=Status.REJECTED, error=errors[0]) for r in results] if errors else results


@breaks("bad-record")
class GivesNoReason(Pushing):
    def came(self, results: Sequence[PushResult]) -> Sequence[PushResult]:
        return [replace(r, error=None) if r.error and r.error.code is Code.INVALID_CHOICE else r for r in results]


@breaks("removal")
class DeletesNothing(Notes):
    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if changes[0].op is Op.DELETE:
            return [PushResult(c.local_key, Status.UPDATED, c.remote_id) for c in changes]
        return super().push(session, object_type, changes)


@breaks("removal")
class TakesWhatIsGoneForAnError(Pushing):
    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        results = super().push(session, object_type, changes)
        if changes[0].op is Op.ARCHIVE and any(r.error for r in results):
            raise ConfigError("Notes cannot archive what is not there.")
        return results


@breaks("removal")
class FetchesWhatIsArchived(Notes):
    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        found = super().fetch(session, object_type, ids, properties, associations, history)
        pages = self.pull(session, object_type, PullRequest(tuple(properties), archived=True))
        return {**found, **{one.id: one for page in pages for one in page.records if one.id in ids}}


@breaks("associations")
class KeepsAssociationsForEver(Pushing):
    def sent(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [replace(c, associations=tuple(a for a in c.associations if not a.remove)) for c in changes]


@breaks("clear")
class SendsNoEmptyValues(Pushing):
    def sent(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [replace(c, properties={n: v for n, v in c.properties.items() if v is not None}) for c in changes]


@breaks("batch-size")
class OverstatesTheBatch(Notes):
    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        found = super().discover(session)
        return [o if o.log else replace(o, batch_sizes=dict.fromkeys(o.batch_sizes, 50)) for o in found]


@breaks("batch-size")
class FetchesAllAtOnce(Notes):
    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        answer = post(session, "/notes/read", {"ids": list(ids), "history": list(history)}, repeatable=True)
        return {note["asked"]: record(note, object_type, properties, associations, history) for note in answer["notes"]}


class Fetching(Notes):
    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        found = super().fetch(session, object_type, ids, properties, associations, history)
        return self.changed(dict(found), ids)

    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return found


@breaks("merged")
class LosesWhatWasMerged(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: one for key, one in found.items() if one.id == key}


@breaks("associations")
class FetchesNoAssociations(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: replace(one, associations={}) for key, one in found.items()}


@breaks("empty-values")
class FetchesNothingOfWhatIsEmpty(Fetching):
    """As many systems answer: what has no value is not mentioned."""

    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: replace(one, properties=filled(one)) for key, one in found.items()}


def filled(one: RemoteRecord) -> dict[str, Value]:
    return {name: value for name, value in one.properties.items() if value is not None}


@breaks("history")
class FetchesNoHistory(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: replace(one, history={}) for key, one in found.items()}


@breaks("round-trip")
class ReadsNumbersAsText(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return {key: replace(r, properties={n: text(v) for n, v in r.properties.items()}) for key, r in found.items()}


def text(value: Value) -> Value:
    return str(value) if isinstance(value, Decimal) else value


@breaks("fetch-gone")
class InventsWhatIsGone(Fetching):
    def changed(self, found: dict[str, RemoteRecord], ids: Sequence[str]) -> Mapping[str, RemoteRecord]:
        return found | {key: RemoteRecord(key, {}) for key in ids if len(key) > len("1001")}


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
