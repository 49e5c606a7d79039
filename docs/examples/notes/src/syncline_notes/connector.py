"""Connector for Notes, a small note-keeping service: `GET /account`, `GET /notes`, `POST /notes/batch` and a few more."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncline.contract import (
    Account,
    Answer,
    AssociationType,
    AuthMethod,
    BulkJob,
    BulkResult,
    Capability,
    Change,
    Code,
    Collected,
    ConnectorInfo,
    ConnectorSpec,
    DatasetInfo,
    Event,
    Kind,
    Limit,
    MatchRule,
    MatchStep,
    ObjectType,
    Op,
    Page,
    PastValue,
    Property,
    PullRequest,
    PushResult,
    Receipt,
    RecordError,
    RemoteRecord,
    Sandbox,
    Session,
    Status,
    SuggestedMapping,
    SuggestedRule,
    Verification,
    WebhookRequest,
    hookimpl,
)
from syncline.contract.normalise import text

from . import journal, webhooks
from .calls import answered, get, listing, post
from .follow import follow
from .wire import TYPES, fields_to_wire, from_wire, moment, property_from_wire

BATCH = 5
JOB = 20
PAGE = 3
LIMITS = (Limit("calls", "account", "every call", window=60.0, size=600),)
KEY = Property("syncline_key", "Syncline key", unique=True, description="Tells which record of ours this note is.")
CODES = {
    "missing": Code.NOT_FOUND,
    "unknown_field": Code.UNKNOWN_PROPERTY,
    "bad_option": Code.INVALID_CHOICE,
    "too_long": Code.TOO_LONG,
    "required": Code.REQUIRED,
}
SETTINGS = {
    "type": "object",
    "properties": {
        "base_url": {"type": "string", "title": "Address", "format": "uri", "default": "https://api.notes.example"},
    },
}
TOKEN = {
    "type": "object",
    "required": ["token"],
    "properties": {"token": {"type": "string", "title": "Token", "writeOnly": True}},
}


class Notes(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo(
            key="notes",
            title="Notes",
            version="0.1.0",
            contract=">=1,<2",
            capabilities=frozenset(Capability),
            settings_schema=SETTINGS,
            hosts=("api.notes.example",),
            limits=LIMITS,
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod(key="token", title="Access token", kind="token", schema=TOKEN)]

    @hookimpl
    def check(self, session: Session) -> Account:
        found = get(session, "/account")
        return Account(id=found["id"], name=found["name"])

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        properties = tuple(property_from_wire(field) for field in get(session, "/fields")["fields"])
        own = KEY.name if any(p.name == KEY.name for p in properties) else None
        sizes = {op: BATCH for op in Op if own or op is not Op.UPSERT}
        return [
            ObjectType(
                "notes",
                "Notes",
                properties,
                sizes,
                unique_key=own,
                key_property=KEY,
                associations=(AssociationType("notes"),),
                page_size=PAGE,
                pull_since=True,
                pull_archived=True,
                pull_history=True,
                follow=True,
                bulk_rows=JOB,
            ),
            journal.OBJECT,
        ]

    @hookimpl
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:  # noqa: ARG002
        return [p.name for p in properties if create_field(session, p)]

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        if (dataset.key, object_type.key) != ("diary.entry", "notes"):
            return SuggestedMapping()
        rules = (SuggestedRule("title", source="headline"), SuggestedRule("author", source="written_by"))
        return SuggestedMapping(rules, MatchRule((MatchStep("title", only_if_unique=True),)))

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if object_type.log:
            return journal.push(session, changes)
        kinds = {p.name: p.kind for p in object_type.properties}
        body = {"op": changes[0].op, "items": [item(change, kinds) for change in changes]}
        answer = post(session, f"/{object_type.key}/batch", body)
        by_key = {verdict["ref"]: verdict for verdict in answer["results"]}
        return [result(change, by_key.get(change.local_key)) for change in changes]

    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        if job.perhaps_sent and (known := get(session, "/jobs", name=job.name)["jobs"]):
            return str(known[0]["id"])
        kinds = {p.name: p.kind for p in object_type.properties}
        items = [item(change, kinds) for change in job.changes]  # Notes takes few at once; for many, write a file
        return str(post(session, "/jobs", {"name": job.name, "items": items})["id"])

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:  # noqa: ARG002
        job = get(session, f"/jobs/{token}")
        if job["state"] == "running":
            yield Collected(after=0.1)
            return
        by_key = {verdict["key"]: verdict for verdict in job["results"]}
        yield Collected([bulk_result(key, by_key.get(key)) for key in keys])

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
        found: dict[str, RemoteRecord] = {}
        for start in range(0, len(ids), BATCH):
            body = {"ids": list(ids[start : start + BATCH]), "history": list(history)}
            answer = post(session, f"/{object_type.key}/read", body, repeatable=True)
            found |= {note["asked"]: record(note, object_type, properties, associations, history) for note in answer["notes"]}
        return found

    @hookimpl
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {value: [] for value in values}
        for start in range(0, len(values), BATCH):
            body = {"field": step, "values": list(values[start : start + BATCH])}
            for note in post(session, f"/{object_type.key}/search", body, repeatable=True)["notes"]:
                found.setdefault(text(note["fields"][step]), []).append(note["id"])
        return found

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        if object_type.log:
            yield from journal.pull(session, request)
            return
        if request.follow:
            yield from follow(request, lambda asked: self.pull(session, object_type, asked))
        query = {"since": moment(request.since), "until": moment(request.until), "archived": "yes" if request.archived else ""}
        query |= {"history": ",".join(request.history), "limit": str(PAGE)}
        position, more = request.position, True
        while more:
            answer = listing(session, f"/{object_type.key}", after=position or "", **query)
            position = answer["next"]
            more = position is not None
            wanted = (request.properties, request.associations, request.history)
            yield Page([record(note, object_type, *wanted) for note in answer["notes"]], position)

    @hookimpl
    def partitions(self, session: Session, object_type: ObjectType) -> Sequence[str]:
        return journal.volumes(session) if object_type.log else []

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return webhooks.verify(request, secrets)

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return webhooks.events(request)

    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:  # noqa: ARG002
        return webhooks.answer(request, receipt)

    @hookimpl
    def sandbox(self) -> Sandbox:
        return Sandbox((sys.executable, "-m", "syncline_notes.sandbox"), {"base_url": "{url}"})


def create_field(session: Session, wanted: Property) -> bool:
    """False when it is there already: 409, of which Notes says that nothing was changed."""
    field = {"name": wanted.name, "label": wanted.label, "type": TYPES[wanted.kind], "unique": wanted.unique}
    body = {**field, "options": [choice.value for choice in wanted.choices]}
    response = session.http.request("POST", session.settings["base_url"] + "/fields", json=body, repeatable=True)
    if response.status == 409:
        return False
    answered(response)
    return True


def item(change: Change, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    fields = fields_to_wire(change.properties, kinds)
    if change.op is Op.UPSERT:
        fields[KEY.name] = change.unique_key
    links = [{"to": other.remote_id, "remove": other.remove} for other in change.associations]
    return {"ref": change.local_key, "id": change.remote_id, "fields": fields, "links": links}


def result(change: Change, verdict: Mapping[str, Any] | None) -> PushResult:
    """A record that Notes does not mention may or may not have been written."""
    if verdict is None:
        return PushResult(change.local_key, Status.UNKNOWN)
    refused = verdict.get("error")
    if not refused:
        return PushResult(change.local_key, Status(verdict["status"]), verdict["id"])
    code = CODES.get(refused["code"], Code.OTHER)
    error = RecordError(code, refused["message"], refused["field"], refused["code"])
    return PushResult(change.local_key, Status.REJECTED, change.remote_id, error)


def bulk_result(key: str, verdict: Mapping[str, Any] | None) -> BulkResult:
    """A record that an ended job does not mention was not in it."""
    if verdict is None:
        return BulkResult(key, Status.NOT_SENT)
    refused = verdict.get("error")
    if not refused:
        return BulkResult(key, Status(verdict["status"]), verdict["id"])
    return BulkResult(key, Status.REJECTED, error=RecordError(CODES.get(refused["code"], Code.OTHER), refused["message"]))


def record(
    note: Mapping[str, Any],
    object_type: ObjectType,
    names: Sequence[str],
    associations: Sequence[str] = (),
    history: Sequence[str] = (),
) -> RemoteRecord:
    kinds = {name: p.kind for name in (*names, *history) if (p := object_type.property(name))}
    return RemoteRecord(
        note["id"],
        {name: from_wire(kinds[name], note["fields"].get(name)) for name in names if name in kinds},
        archived=note["archived"],
        modified_at=datetime.fromisoformat(note["changed"]),
        merged=tuple(note["merged"]),
        associations={other: tuple(note["links"]) for other in associations},  # of notes there are only those with notes
        history={name: past(kinds[name], note["past"].get(name, ())) for name in history if name in kinds},
    )


def past(kind: Kind, values: Sequence[Mapping[str, Any]]) -> tuple[PastValue, ...]:
    return tuple(PastValue(from_wire(kind, one["value"]), datetime.fromisoformat(one["at"])) for one in values)
