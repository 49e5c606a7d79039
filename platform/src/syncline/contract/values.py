"""Frozen values that cross the border between the host, its connectors and its apps.

Property values inside `Change`, `RemoteRecord` and mapped records are *canonical*: one Python
value per meaning, so that equal values compare equal on both sides.

| kind      | canonical value                                                       |
|-----------|-----------------------------------------------------------------------|
| STRING    | str                                                                   |
| NUMBER    | int, or a finite decimal.Decimal without exponent and trailing zeros  |
| BOOLEAN   | bool                                                                  |
| DATE      | str, `YYYY-MM-DD`                                                     |
| DATETIME  | str, UTC, `YYYY-MM-DDTHH:MM:SS.mmmZ`                                  |
| CHOICE    | str, one of the property's choices                                    |
| SET       | tuple of distinct str, sorted                                         |
| EMAIL     | str, lower case                                                       |
| JSON      | str, JSON without blanks between its tokens, names sorted             |

None means "no value"; a change that carries None for a property clears it.
Connectors turn canonical values into the vendor's wire form and back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from .messages import Message

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
Value = None | bool | int | Decimal | str | tuple[str, ...]


class Kind(StrEnum):
    """What a property or a dataset field holds."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"
    SET = "set"
    EMAIL = "email"
    JSON = "json"  # an object or list as a whole
    REFERENCE = "reference"  # dataset fields only: the local key of a record of another dataset


class Op(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    ARCHIVE = "archive"
    DELETE = "delete"
    ASSOCIATE = "associate"  # properties stay as they are; only `associations` are written


class Status(StrEnum):
    """What became of one change."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"  # the vendor refused it; `error` says why
    NOT_SENT = "not_sent"  # certainly not carried out; may be sent again
    UNKNOWN = "unknown"  # sent, but whether it was carried out is not known


class Code(StrEnum):
    """Cause of a refusal, in our words; the vendor's own code stands in RecordError.vendor_code."""

    NOT_FOUND = "not_found"  # the record with this remote id is not there (deleted or merged)
    CONFLICT = "conflict"  # a unique value belongs to another record: RecordError.existing_id
    UNKNOWN_PROPERTY = "unknown_property"
    READ_ONLY = "read_only"
    INVALID_VALUE = "invalid_value"
    INVALID_CHOICE = "invalid_choice"
    TOO_LONG = "too_long"
    REQUIRED = "required"
    SEVERAL = "several_remote"  # a bulk job that matches by itself found several records: nothing was written
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why one record was refused.

    `message` is a sentence for a person, free of secrets and of the record's other values.
    """

    code: Code
    message: str
    property: str | None = None
    vendor_code: str | None = None
    existing_id: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a remote object.

    `schema` is a JSON Schema for the canonical value in its JSON form (numbers as JSON numbers, sets as
    arrays); the host validates mapped values against it.
    `group` and `description` matter only when the property is to be created.
    """

    name: str
    label: str
    kind: Kind = Kind.STRING
    schema: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    read_only: bool = False
    required: bool = False
    unique: bool = False
    group: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class AssociationType:
    """Records of this object can be associated to records of `object_type`."""

    object_type: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One kind of remote record, as discovered live.

    `batch_sizes`: records per push call, by operation; an operation that is missing is not offered.
    `visibility_lag`: seconds until a record just created is certain to be seen by `match` or `pull`.
    `unique_key`: name of our own unique property (value `<installation>:<dataset>:<key>`) once it exists remotely,
    else None; only with it may the host use Op.UPSERT.
    `key_property`: what that property looks like, for connectors whose objects can carry one.
    `page_size`: records a listing page holds, for choosing the cheaper way of matching.
    `pull_since`: whether `pull` can give just what was created or changed since a moment. `pull_archived`: whether it can give
    records that were archived. `pull_history`: whether it, and `fetch`, can tell earlier values of a property.
    `count`: about how many records there were at discovery, None when unknown.
    `follow`: whether `pull` can go on for ever (see PullRequest). `log`: its records are messages: written once, never changed,
    pulled by partition and position, and each with a RemoteRecord.message. `dead_letters`: key of the object, a log as well, that
    messages go to which could not be taken in here, "" for none.
    `bulk_rows`: records one bulk job may have (see `submit`), 0 when this object is not written in bulk.
    `bulk_match`: properties by which a bulk job can find existing records itself, by the vendor's own rule.
    """

    key: str
    title: str
    properties: tuple[Property, ...]
    batch_sizes: Mapping[Op, int]
    visibility_lag: float = 0.0
    unique_key: str | None = None
    key_property: Property | None = None
    associations: tuple[AssociationType, ...] = ()
    page_size: int = 100
    count: int | None = None
    bulk_rows: int = 0
    bulk_match: tuple[str, ...] = ()
    pull_since: bool = False
    pull_archived: bool = False
    pull_history: bool = False
    follow: bool = False
    log: bool = False
    dead_letters: str = ""

    def property(self, name: str) -> Property | None:
        return next((p for p in self.properties if p.name == name), None)


@dataclass(frozen=True, slots=True)
class Association:
    """To the record `remote_id` of `object_type`; `remove` takes the association away."""

    object_type: str
    remote_id: str
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One record's write.

    UPDATE, ARCHIVE, DELETE and ASSOCIATE need `remote_id`; UPSERT needs `unique_key`, the value of the object's own
    unique property. `properties` are canonical; only what must be written. `message`: when the object is a log: Op.CREATE, and
    its remote id is the place in the log, as `pull` gives it.
    """

    local_key: str
    op: Op
    remote_id: str | None = None
    unique_key: str | None = None
    properties: Mapping[str, Value] = field(default_factory=dict)
    associations: tuple[Association, ...] = ()
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of the change with this `local_key`; found by key, never by position.

    ARCHIVE and DELETE of a record that is there give UPDATED; of one that is not, UNCHANGED, or REJECTED with NOT_FOUND, or
    UPDATED where the vendor does not tell: the host takes them all for done.
    """

    local_key: str
    status: Status
    remote_id: str | None = None
    error: RecordError | None = None


@dataclass(frozen=True, slots=True)
class BulkJob:
    """Many records for one bulk job of the vendor: all Op.UPSERT, each with its `unique_key`.

    `name` belongs to this job alone and stays the same however often it is handed in; put it where the vendor lists jobs.
    `changes` can be iterated several times and may be a million: never hold them all. `match_by`: one of the object's
    `bulk_match`, by which the vendor finds existing records; "" means by our own unique property.
    `perhaps_sent`: an earlier attempt with this name may have arrived, so look for it before anything is sent.
    """

    name: str
    changes: Iterable[Change]
    match_by: str = ""
    perhaps_sent: bool = False


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of the record with this `unique_key` in a bulk job: as in PushResult.

    A rejected one has a `remote_id` when the record is there all the same (some vendors leave out only the bad value).
    """

    unique_key: str
    status: Status
    remote_id: str | None = None
    error: RecordError | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """Some results of a bulk job that has ended; or, alone, `after`: it is still going on, ask again in so many seconds.

    `note`: a sentence about the job as a whole when it failed or was cancelled.
    """

    results: Sequence[BulkResult] = ()
    after: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PastValue:
    """A value that a property had from `at` on; `by`: who set it, in the vendor's words."""

    value: Value
    at: dt.datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A record as the vendor has it now. `id` may differ from the id asked for when records were merged.

    `properties`: those asked for, None where there is no value; one left out is not known there, and changes nothing here.
    `merged`: ids of records that were merged into this one, as far as the vendor tells. `associations`: object type → remote ids
    of all records it is associated with, for the object types asked for. `history`: property → its values, newest first, for
    the properties asked for. `message`: of a log's record, whose `id` is its partition and place, and which is `archived` when it
    says that its key has no value any more.
    """

    id: str
    properties: Mapping[str, Value]
    archived: bool = False
    modified_at: dt.datetime | None = None
    merged: tuple[str, ...] = ()
    associations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    history: Mapping[str, tuple[PastValue, ...]] = field(default_factory=dict)
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to pull. `position` is what an earlier page gave for the same request, None from the start.

    `since` (only where the object says `pull_since`): records that were created or changed at that moment or later, by the
    system's clock. Others may come too, one may come twice, and what is younger than `visibility_lag` may be missing.
    `until` (with `since`): what changed later may be left out; it comes with the next pull.
    `unkeyed` (only with `since`): records that bear our own unique key may be left out, and the answer should come soon.
    `archived` (only where the object says `pull_archived`): archived records instead of the others, with `since` at least those
    that were archived at that moment or later.
    `associations`: object types whose associations are wanted. `history` (only where the object says `pull_history`):
    properties whose earlier values are wanted.
    `partition`: one of those that `partitions` gave; None where the object has none.
    `follow` (only where the object says `follow` or `log`): what comes from now on, or from `position` on, without end: a page at
    least every 5 s, without records when there are none. A log without `position` begins with the oldest message there is.
    """

    properties: tuple[str, ...]
    position: str | None = None
    partition: str | None = None
    until: dt.datetime | None = None
    follow: bool = False
    since: dt.datetime | None = None
    unkeyed: bool = False
    archived: bool = False
    associations: tuple[str, ...] = ()
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and the position after them; None when this was the last page.

    `total`: about how many records the whole pull will give, where that is known. `behind`: how many there are after this page,
    when following. `gap`: when following, something before this page is lost for good, why: only a whole listing brings it.
    """

    records: Sequence[RemoteRecord]
    position: str | None
    total: int | None = None
    behind: int | None = None
    gap: str = ""
