"""What a vendor tells us by itself: a delivery as it arrived, and the events that a connector reads from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .values import Json


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One delivery, byte for byte.

    `url`: the full public address that was called, query included. `headers`: names in lower case. `body`: as it came, never
    decoded or decompressed, and never longer than the host's cap. `received_at`: UTC.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: dt.datetime


class Verification(StrEnum):
    """What `verify` found out. Everything but GENUINE is refused, counted by this word, and not kept."""

    GENUINE = "genuine"
    UNSIGNED = "unsigned"  # it bears no signature
    FORGED = "forged"  # no secret of ours makes this signature of these bytes
    STALE = "stale"  # genuine perhaps, but signed too long ago, or for a time to come
    MALFORMED = "malformed"  # the signature, or what belongs to it, cannot be read


class EventKind(StrEnum):
    """What happened there. The host asks for the record's current state; the event's own values are not believed.

    Except those of a MESSAGE: there is no record that could be asked for, `data` is all there is, and `remote_id` the key by
    which such messages keep their order.
    """

    CREATED = "created"
    CHANGED = "changed"
    ASSOCIATED = "associated"  # associations of the record changed
    DELETED = "deleted"
    RESTORED = "restored"
    MERGED = "merged"  # `others` were merged into `remote_id`
    ERASED = "erased"  # deleted for good, by a person's right to it: the host forgets its values
    MESSAGE = "message"  # the event is all there is: it is passed on to the syncs of the inbox
    UNKNOWN = "unknown"  # kept, and left alone


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a delivery tells.

    `key`: names this event among all of its address, the same each time the vendor delivers it; "" where the vendor has no such
    name: then every delivery counts. `account`: `Account.id` of the account it happened in, "" when the delivery names none.
    `object_type`: key of the object as in the catalog, "" when it concerns none. `remote_id`: the record concerned; `others`:
    further records of the same object (see the kinds). `data`: what else a person may want to see of it; kept, and small.
    """

    kind: EventKind
    key: str = ""
    account: str = ""
    object_type: str = ""
    remote_id: str = ""
    others: tuple[str, ...] = ()
    occurred_at: dt.datetime | None = None
    data: Json = field(default_factory=dict)


class Receipt(StrEnum):
    """What the host did with a delivery, for `acknowledge`."""

    STORED = "stored"  # committed: it may be acknowledged
    REFUSED = "refused"  # not genuine
    UNREADABLE = "unreadable"  # kept, but `parse` could not read it
    TOO_LARGE = "too_large"  # not kept
    FAILED = "failed"  # not kept: the vendor is to deliver it again


@dataclass(frozen=True, slots=True)
class Answer:
    """What the vendor is answered. `status`: of HTTP; without `acknowledge` the host answers 204, 401, 204, 413 and 503."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
