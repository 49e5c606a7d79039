"""Bulk API 2.0: one file of upserts by our own key, and files of results when the job has ended.

Jobs have no names, so one whose answer was lost cannot be told from others. A job begins to work with the last call only, and
all its rows are upserts by our own key: handed in again, they find what they wrote.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Final

from syncline.contract import (
    BulkJob,
    BulkResult,
    Change,
    Collected,
    ObjectType,
    Permanent,
    Status,
    UnsupportedFeature,
)

from .client import Client
from .errors import LATER, Json, record_error
from .wire import to_text, unclearable

PATH: Final = "/jobs/ingest"
ROWS: Final = 20_000
BYTES: Final = 24 * 1024 * 1024  # the files of results repeat every row, and are read whole
SOME: Final = 1000
GOING_ON: Final = {"Open": 5.0, "UploadComplete": 5.0, "InProgress": 5.0}


def submit(client: Client, object_type: ObjectType, job: BulkJob) -> str:
    key = object_type.unique_key
    if not key or job.match_by:
        raise UnsupportedFeature(f"Salesforce writes {object_type.title} in bulk by an external id of ours, which is not there.")
    names = sorted({name for change in job.changes for name in change.properties} - {key})
    with tempfile.TemporaryFile() as file:
        _write(file, object_type, [key, *names], job.changes)
        made = client.write("POST", PATH, _request(object_type.key, key))
        token = str(made["id"])
        client.upload(f"{PATH}/{token}/batches", _Body(file), "text/csv; charset=UTF-8")
    client.write("PATCH", f"{PATH}/{token}", {"state": "UploadComplete"})
    return token


def _request(object_key: str, key: str) -> Json:
    return {
        "object": object_key,
        "operation": "upsert",
        "externalIdFieldName": key,
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }


def _write(file: IO[bytes], object_type: ObjectType, names: Sequence[str], changes: Iterable[Change]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    for change in changes:
        values = unclearable(object_type, change.properties)
        rows.writerow([change.unique_key, *(to_text(values[name]) if name in values else "" for name in names[1:])])
    text.flush()
    text.detach()
    if file.tell() > BYTES:
        raise Permanent(f"The file would have {file.tell()} bytes; with more than {BYTES} its results could not be read.")


class _Body:
    """The file, from its start each time it is sent."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.tell()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            yield piece


def collect(client: Client, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
    job = client.get(f"{PATH}/{token}")
    if (wait := GOING_ON.get(job.get("state"))) is not None:
        yield Collected(after=wait)
        return
    if job.get("state") != "JobComplete":
        why = f": {job['errorMessage']}" if job.get("errorMessage") else ""
        yield Collected(note=f"Salesforce's bulk job {token} ended as {job.get('state')}{why}.")
    key = object_type.unique_key or ""
    told = {result.unique_key: result for result in _results(client, token, key)}
    rest = iter(keys)
    while some := list(islice(rest, SOME)):
        yield Collected([told.get(one, BulkResult(one, Status.NOT_SENT)) for one in some])


def _results(client: Client, token: str, key: str) -> Iterator[BulkResult]:
    """Rows that nobody worked on stand in a file of their own, which holds nothing to be told of them."""
    for row in _rows(client, f"{PATH}/{token}/successfulResults"):
        created = row.get("sf__Created") == "true"
        yield BulkResult(row.get(key, ""), Status.CREATED if created else Status.UPDATED, row.get("sf__Id") or None)
    for row in _rows(client, f"{PATH}/{token}/failedResults"):
        yield _failed(row.get(key, ""), row)


def _rows(client: Client, path: str) -> Iterator[Mapping[str, str]]:
    response = client.text(path)
    if "csv" not in response.headers.get("Content-Type", ""):
        raise Permanent(f"{response.path} answered with something that is no file of results. Look into the job in Salesforce.")
    yield from csv.DictReader(io.StringIO(response.body.decode("utf-8-sig"), newline=""))


def _failed(key: str, row: Mapping[str, str]) -> BulkResult:
    """`INVALID_…:Industry: bad value for restricted picklist field: x:Industry --`: the code, what is said, the fields."""
    word, _, rest = (row.get("sf__Error") or "").partition(":")
    said, _, fields = rest.removesuffix("--").strip().rpartition(":")
    if word in LATER:
        return BulkResult(key, Status.NOT_SENT)
    fault = {"statusCode": word, "message": said or rest, "fields": [name.strip() for name in fields.split(",") if name.strip()]}
    return BulkResult(key, Status.REJECTED, row.get("sf__Id") or None, record_error(fault))
