"""Which syncs run without end: those of logs, and those that follow what changes in the account."""

from __future__ import annotations

from syncline.connections.access import may_run
from syncline.contract.dataset import DatasetInfo
from syncline.contract.values import ObjectType

from .engine.content import Direction
from .models import Sync


def complaint(sync: Sync, dataset: DatasetInfo, object_type: ObjectType) -> str:
    """Why it cannot run as it is set, "" when it can."""
    if dataset.log:
        return _relay(sync, dataset, object_type) or source_complaint(sync)
    if object_type.log:
        return _stream(sync, object_type)
    if sync.continuous and sync.direction != Direction.PULL:
        return "What changes here is pushed at once, not continuously. Switch “continuous” off, or choose to pull."
    if sync.continuous and not object_type.follow:
        return f"{object_type.title} cannot be followed. Switch “continuous” off, and choose a schedule."
    return ""


def _relay(sync: Sync, dataset: DatasetInfo, object_type: ObjectType) -> str:
    if sync.direction != Direction.PUSH or not object_type.log:
        return (
            f"{dataset.label} holds messages, which can only be pushed, and only to a log such as a topic. Choose another object."
        )
    return "" if sync.continuous else "Messages are passed on continuously. Switch “continuous” on."


def _stream(sync: Sync, object_type: ObjectType) -> str:
    if sync.direction != Direction.PULL:
        return (
            f"{object_type.title} is a log: records cannot be kept the same as its messages. Choose to pull, or another dataset."
        )
    return "" if sync.continuous else "Messages are taken in continuously. Switch “continuous” on."


def source_complaint(sync: Sync) -> str:
    """Why the messages of its source may not be passed on."""
    if sync.source is None:
        return "It is not said whose messages are passed on. Choose a connection under “messages of”."
    owner = sync.connection.owner
    if not may_run(owner, sync.source):
        return (
            f"{owner}, the owner of {sync.connection.name}, may not use {sync.source.name}, whose messages these are."
            f" Ask its owner {sync.source.owner} for a grant."
        )
    return ""
