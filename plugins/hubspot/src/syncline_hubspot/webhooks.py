"""What HubSpot tells by itself: arrays of events from subscriptions, and single objects from workflows."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from syncline.contract import Answer, Event, EventKind, Permanent, Receipt, WebhookRequest

from .errors import Json

ANSWERS: Final = {
    Receipt.STORED: 204,
    Receipt.REFUSED: 401,
    Receipt.UNREADABLE: 204,  # it is kept here, and would be no better the second time
    Receipt.TOO_LARGE: 413,
    Receipt.FAILED: 503,  # HubSpot delivers again what was not answered with a 2xx, ten times within a day
}
KINDS: Final = {
    "creation": EventKind.CREATED,
    "propertyChange": EventKind.CHANGED,
    "associationChange": EventKind.ASSOCIATED,
    "deletion": EventKind.DELETED,
    "restore": EventKind.RESTORED,
    "merge": EventKind.MERGED,
    "privacyDeletion": EventKind.ERASED,
}
#: How HubSpot calls our objects: in subscriptions, by type id, in associations, by path.
OBJECTS: Final = {
    name: key
    for key, names in {
        "companies": ("company", "companies", "0-2"),
        "contacts": ("contact", "contacts", "0-1"),
        "deals": ("deal", "deals", "0-3"),
    }.items()
    for name in names
}
#: What workflows name the record by, in the older of their forms.
IDS: Final = {"vid": "contacts", "companyId": "companies", "dealId": "deals"}
#: Kept for people. The values of properties are not: they may be sensitive, and the record is read anew anyway.
KEPT: Final = (
    "subscriptionType",
    "propertyName",
    "changeSource",
    "sourceId",
    "changeFlag",
    "attemptNumber",
    "associationType",
    "associationRemoved",
    "isPrimaryAssociation",
    "fromObjectId",
    "toObjectId",
    "numberOfPropertiesMoved",
)
LONGEST: Final = 200
MOST_MERGED: Final = 500


def parse(request: WebhookRequest) -> list[Event]:
    told = _body(request)
    if isinstance(told, dict):
        return [_event(told) if "subscriptionType" in told else _of_workflow(told)]
    if isinstance(told, list):
        return [_event(each) if isinstance(each, dict) else Event(EventKind.UNKNOWN) for each in told]
    raise Permanent("The delivery holds neither a list of events nor an object, so it is not one of HubSpot's.")


def acknowledge(receipt: Receipt) -> Answer:
    return Answer(ANSWERS[receipt])


def _body(request: WebhookRequest) -> Any:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Permanent("The delivery is compressed, which HubSpot's never are. Look for a proxy that changes them on their way.")
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return _mended(request.body)


def _mended(body: bytes) -> Any:
    """A text cut in the middle of a character is no reason to lose the other 99 events; anything else is not JSON."""
    try:
        whole = json.dumps(json.loads(body.decode()), ensure_ascii=False, allow_nan=False)
        return orjson.loads(whole.encode(errors="replace"))
    except (ValueError, RecursionError):
        raise Permanent("The delivery is not JSON that can be read, so it is not one of HubSpot's.") from None


def _event(raw: Json) -> Event:
    """An event that lacks what its kind needs is UNKNOWN: kept for people, and left alone."""
    word, _, kind = _text(raw.get("subscriptionType")).partition(".")
    object_type = _object(raw.get("objectTypeId") if word == "object" else word)
    found = KINDS.get(kind, EventKind.UNKNOWN)
    remote_id, others = PLACES.get(found, _of_object)(raw, object_type)
    known = found is not EventKind.UNKNOWN and object_type and remote_id
    return Event(
        found if known else EventKind.UNKNOWN,
        key=_key(raw),
        account=_id(raw.get("portalId")),
        object_type=object_type,
        remote_id=remote_id,
        others=others,
        occurred_at=_moment(raw.get("occurredAt")),
        data={name: _small(raw[name]) for name in KEPT if raw.get(name) is not None},
    )


def _key(raw: Json) -> str:
    """HubSpot numbers events anew for each subscription, and repeats the numbers some day."""
    parts = [_id(raw.get(name)) for name in ("eventId", "subscriptionId", "occurredAt")]
    return ":".join(parts) if all(parts) else ""


def _of_object(raw: Json, _: str) -> tuple[str, tuple[str, ...]]:
    return _id(raw.get("objectId")), ()


def _of_merge(raw: Json, _: str) -> tuple[str, tuple[str, ...]]:
    """The survivor is a new record, unless the account keeps the primary one's id: then there is no new id."""
    primary, merged = _id(raw.get("primaryObjectId")), raw.get("mergedObjectIds")
    survivor = _id(raw.get("newObjectId")) or primary or _id(raw.get("objectId"))
    gone = [primary, *(_id(each) for each in (merged if isinstance(merged, list) else ())[:MOST_MERGED])]
    return survivor, tuple(dict.fromkeys(one for one in gone if one and one != survivor))


def _of_association(raw: Json, object_type: str) -> tuple[str, tuple[str, ...]]:
    """Of the two ends the one that was subscribed to: `from`, unless the association is told the other way round."""
    start, end = (_object(word) for word in _text(raw.get("associationType")).lower().partition("_to_")[::2])
    there, back = _id(raw.get("fromObjectId")) or _id(raw.get("objectId")), _id(raw.get("toObjectId"))
    if start == end == object_type:
        return there, (back,) if back else ()
    return (back if end == object_type != start else there), ()


PLACES: Final[Mapping[EventKind, Callable[[Json, str], tuple[str, tuple[str, ...]]]]] = {
    EventKind.MERGED: _of_merge,
    EventKind.ASSOCIATED: _of_association,
}


def _of_workflow(raw: Json) -> Event:
    """A workflow sends the record it is about, in a form of its own or one that a person made up; it never has a key."""
    inner = raw["object"] if isinstance(raw.get("object"), dict) else raw
    origin = raw["origin"] if isinstance(raw.get("origin"), dict) else raw
    account = _id(origin.get("portalId")) or _id(raw.get("portal-id"))
    named = [(key, _id(raw.get(name))) for name, key in IDS.items()]
    named.append((_object(inner.get("objectTypeId")) or _object(inner.get("objectType")), _id(inner.get("objectId"))))
    object_type, remote_id = next(((key, one) for key, one in named if key and one), ("", ""))
    kind = EventKind.CHANGED if remote_id else EventKind.UNKNOWN
    return Event(kind, account=account, object_type=object_type, remote_id=remote_id, data={"from": "workflow"})


def _object(name: Any) -> str:
    """The catalog's key of an object: custom ones are known there by their type id too."""
    text = _text(name).lower()
    return OBJECTS.get(text, text if text.startswith("2-") else "")


def _id(value: Any) -> str:
    """Ids come as numbers and as text; what is neither is no id."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    return value if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20 else ""


def _text(value: Any) -> str:
    return value[:LONGEST].replace("\0", "") if isinstance(value, str) else ""


def _small(value: Any) -> str | int | bool:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 53):
        return value
    return _text(value if isinstance(value, str) else str(value)[:LONGEST])


def _moment(value: Any) -> dt.datetime | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        return dt.datetime.fromtimestamp(value / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
