"""Bulk API 2.0, ingest: a job, its file, its state, and three files of results. A job ends some seconds after its upload."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .org import Org, stamp
from .refusals import ApiError, RecordRefused, not_found

if TYPE_CHECKING:
    from .server import Call

TAKES = 5.0
Row = dict[str, Any]


@dataclass(slots=True)
class Job:
    id: str
    object: str
    operation: str
    key: str
    created: float
    state: str = "Open"
    ends: float = 0.0
    file: bytes = b""
    header: list[str] = field(default_factory=list)
    successful: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": self.object,
            "operation": self.operation,
            "externalIdFieldName": self.key,
            "state": self.state,
            "createdDate": stamp(self.created),
            "contentType": "CSV",
            "contentUrl": f"services/data/v67.0/jobs/ingest/{self.id}/batches",
            "numberRecordsProcessed": len(self.successful) + len(self.failed),
            "numberRecordsFailed": len(self.failed),
        }


def make(call: Call) -> Any:
    asked = call.json()
    definition = call.org.definition(str(asked.get("object")))
    if asked.get("operation") != "upsert":
        raise ApiError(400, "INVALIDJOB", "The sandbox's jobs upsert.")
    key = str(asked.get("externalIdFieldName"))
    if key not in definition.fields or not definition.fields[key].unique:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Field name not found or not an external id : {key}")
    job = Job(f"750{next(call.server.numbers):012d}AAA", definition.name, "upsert", key, call.org.clock.now())
    call.server.jobs[job.id] = job
    return job.shown()


def upload(call: Call) -> Any:
    job = _job(call)
    if job.state != "Open":
        raise ApiError(400, "INVALIDJOBSTATE", f"Job is not open; it is {job.state}")
    job.file = call.raw
    return None


def change(call: Call) -> Any:
    job, state = _job(call), call.json().get("state")
    if state not in ("UploadComplete", "Aborted"):
        raise ApiError(400, "INVALIDJOBSTATE", f"Invalid job state: {state}")
    job.state, job.ends = state, call.org.clock.now() + TAKES
    return job.shown()


def show(call: Call) -> Any:
    job = _job(call)
    if job.state == "UploadComplete" and call.org.clock.now() >= job.ends:
        _work(call.org, job)
    return job.shown()


def listed(call: Call) -> Any:
    return {"done": True, "records": [job.shown() for job in call.server.jobs.values()], "nextRecordsUrl": None}


def results(call: Call) -> str:
    job, which = _job(call), call.parts["results"]
    if which == "successfulResults":
        return _csv(["sf__Id", "sf__Created", *job.header], job.successful)
    if which == "failedResults":
        return _csv(["sf__Id", "sf__Error", *job.header], job.failed)
    if which == "unprocessedrecords":
        return _csv(job.header, ())
    raise not_found()


def _job(call: Call) -> Job:
    found: Job | None = call.server.jobs.get(call.parts["job"])
    if found is None:
        raise not_found()
    return found


def _work(org: Org, job: Job) -> None:
    rows = csv.DictReader(io.StringIO(job.file.decode(), newline=""))
    job.header, job.state = list(rows.fieldnames or ()), "JobComplete"
    for row in rows:
        _row(org, job, row)


def _row(org: Org, job: Job, row: Row) -> None:
    values = {name: None if value == "#N/A" else value for name, value in row.items() if value != ""}
    try:
        record_id, created = org.upsert(job.object, job.key, values)
        job.successful.append({"sf__Id": record_id, "sf__Created": str(created).lower(), **row})
    except RecordRefused as refused:
        error = refused.error
        said = f"{error['statusCode']}:{error['message']}:{', '.join(error['fields'])} --"
        job.failed.append({"sf__Id": "", "sf__Error": said, **row})
    except ApiError as refused:
        said = f"{refused.body[0]['errorCode']}:{refused.body[0]['message']}: --"
        job.failed.append({"sf__Id": "", "sf__Error": said, **row})


def _csv(header: list[str], rows: Iterable[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
