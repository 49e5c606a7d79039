"""Continuous syncs on the pages of syncs: what their forms ask, and what is begun for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

from django.http import HttpRequest

from syncline.connections import access
from syncline.connections.models import Connection
from syncline.contract import Dataset, DatasetInfo, ObjectType, Op, SynclineError
from syncline.syncs import publish
from syncline.syncs.engine.content import Mode
from syncline.syncs.models import Sync

from .base import person


class Shape(StrEnum):
    """RELAY: messages here are passed on to a log. STREAM: those of a log are taken in. STATE: records are kept the same."""

    RELAY = "relay"
    STREAM = "stream"
    STATE = "state"


def shape(dataset: DatasetInfo | None, object_type: ObjectType | None) -> Shape:
    if dataset is not None and dataset.log:
        return Shape.RELAY
    return Shape.STREAM if object_type is not None and object_type.log else Shape.STATE


def shape_of(dataset: Dataset | None, object_type: ObjectType | None) -> Shape:
    """`dataset`, `object_type`: None when they are gone."""
    return shape(dataset.info if dataset else None, object_type)


_TIMES: Final = ("cron", "at_once", "changes_cron", "follows", "next_times")
_OF_RECORDS: Final = ("direction", "mode", "delete_policy", "segment", "gone_policy")

HELP: Final[Mapping[Shape, str]] = {
    Shape.RELAY: "Each message is passed on as it arrives, by the processes of “syncline stream”. A log needs this.",
    Shape.STREAM: "Each message is taken in as it comes, by the processes of “syncline stream”. A log needs this.",
    Shape.STATE: "What changes there is taken in as it happens, by the processes of “syncline stream”. Its schedules are taken"
    " away then.",
}
SOURCE_HELP: Final = "Whose deliveries are passed on. The owner of this sync's connection needs the right to run syncs over it."


def without(sync: Sync, found: Shape, object_type: ObjectType | None) -> frozenset[str]:
    """Fields of the form that mean nothing for this sync."""
    if found is not Shape.STATE:
        return frozenset({*_TIMES, *_OF_RECORDS, *(("source",) if found is Shape.STREAM else ())})
    if sync.continuous:
        return frozenset({*_TIMES, "source"})
    offered = sync.direction == Sync.Direction.PULL and object_type is not None and object_type.follow
    return frozenset({"source"}) if offered else frozenset({"source", "continuous"})


def sources(request: HttpRequest, among: Any = None) -> Any:
    """Connections whose messages this person may pass on; `among`: one more that is chosen already."""
    user = person(request)
    seen = access.visible_connections(user).defer("credentials").order_by("name")
    runnable = [one.pk for one in seen.select_related("owner") if access.may_run(user, one)]
    return Connection.objects.filter(pk__in=[*runnable, *([among] if among else [])]).defer("credentials").order_by("name")


def complaints(dataset: Dataset, object_type: ObjectType, source: Connection | None, owner: Any) -> dict[str, str]:
    """Why no sync can be made of these, by the form's field; none when it can."""
    found = shape(dataset.info, object_type)
    if found is Shape.RELAY and not object_type.log:
        return {
            "object_type": f"“{dataset.info.label}” holds messages, which only go to a log. Choose a topic, or another dataset."
        }
    if found is Shape.RELAY:
        return {"source": said} if (said := source_complaint(source, owner)) else {}
    if found is Shape.STREAM and Op.UPSERT not in dataset.info.writes:
        return {"dataset": f"{dataset.info.label} takes no messages, and {object_type.title} is a log. Choose another dataset."}
    return {}


def source_complaint(source: Connection | None, owner: Any) -> str:
    if source is None:
        return "Say whose messages are passed on."
    return (
        "" if access.may_run(owner, source) else f"{owner} may not use {source.name}. Ask its owner {source.owner} for a grant."
    )


def beginning(dataset: DatasetInfo, object_type: ObjectType, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is the only way for a log, so that nobody has to know it."""
    found = shape(dataset, object_type)
    if found is Shape.STATE:
        return {"source": None, "continuous": False}
    direction = Sync.Direction.PUSH if found is Shape.RELAY else Sync.Direction.PULL
    source = given.get("source") if found is Shape.RELAY else None
    return {"source": source, "continuous": True, "direction": direction, "mode": Mode.UPSERT.value}


def unschedule(sync: Sync) -> None:
    sync.cron, sync.changes_cron, sync.at_once, sync.follows = "", "", False, None
    sync.next_due_at = sync.next_changes_at = None


def draft(sync: Sync) -> None:
    """The mapping that the connector suggests, if it does; else the page says that there are no rules, and how to add them."""
    with suppress(SynclineError):
        publish.apply_suggestion(sync)


def log_objects(objects: Collection[ObjectType]) -> bool:
    return any(one.log for one in objects)


def offered_datasets(known: Mapping[str, Dataset], objects: Collection[ObjectType]) -> dict[str, Dataset]:
    """Logs of ours come last, and only where there is a log to pass them on to."""
    logs = {key: one for key, one in known.items() if one.info.log}
    return {**{key: one for key, one in known.items() if key not in logs}, **(logs if log_objects(objects) else {})}
