"""The journal of Notes, a log: entries in two volumes, never changed, each volume in its own order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncline.contract import (
    Change,
    Kind,
    Message,
    ObjectType,
    Op,
    Page,
    Property,
    PullRequest,
    PushResult,
    RemoteRecord,
    Session,
    Status,
)

from .calls import get, post

BATCH = 5
PAUSE_S = 0.1
OBJECT = ObjectType("journal", "Journal", (Property("line", "Line", Kind.STRING),), {Op.CREATE: BATCH}, log=True)


def volumes(session: Session) -> list[str]:
    return list(get(session, "/journal/volumes")["volumes"])


def push(session: Session, changes: Sequence[Change]) -> list[PushResult]:
    answer = post(session, "/journal", {"entries": [entry(change) for change in changes]})
    return [PushResult(one["ref"], Status.CREATED, one["place"]) for one in answer["written"]]


def entry(change: Change) -> dict[str, Any]:
    message = change.message or Message()
    at = message.at.isoformat() if message.at else None
    told = {"id": message.id, "sequence": message.sequence, "type": message.type, "source": message.source, "at": at}
    return {
        "ref": change.local_key,
        "key": message.key,
        "line": change.properties["line"],
        "told": told | {"more": message.headers},
    }


def pull(session: Session, request: PullRequest) -> Iterator[Page]:
    """Following, a page comes every moment, also without entries."""
    after, more = request.position or "0", True
    while more:
        answer = get(session, "/journal", volume=request.partition or "", after=after)
        after = str(answer["after"])
        more = request.follow or answer["behind"] > 0
        yield Page([record(one) for one in answer["entries"]], after if more else None, behind=answer["behind"])
        if request.follow and not answer["entries"]:
            time.sleep(PAUSE_S)


def record(one: Mapping[str, Any]) -> RemoteRecord:
    told = dict(one["told"])
    at, more = told.pop("at"), told.pop("more")
    message = Message(
        **told,
        key=one["key"],
        at=datetime.fromisoformat(at) if at else None,
        headers=more,
        body=(one["line"] or "").encode(),
    )
    return RemoteRecord(one["place"], {"line": one["line"]}, archived=one["line"] is None, message=message)
