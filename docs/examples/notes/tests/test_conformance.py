from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import requests
from syncline.contract import DatasetInfo, Event, EventKind, Field, MatchStep, Property, WebhookRequest
from syncline.contract.testing import Delivery, Target, conformance, sandboxed
from syncline_notes import sandbox
from syncline_notes.connector import Notes


def headers(ready: Mapping[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {ready['token']}"}


def ask(ready: Mapping[str, Any], path: str, body: Any) -> None:
    requests.post(ready["url"] + path, json=body, headers=headers(ready), timeout=10).raise_for_status()


def touch(ready: Mapping[str, Any], ids: Sequence[str]) -> None:
    ask(ready, "/notes/touch", {"ids": ids})


def merge(ready: Mapping[str, Any], into: str, gone: str) -> None:
    ask(ready, "/notes/merge", {"into": into, "from": gone})


def signed(secret: str, request: WebhookRequest) -> dict[str, str]:
    at = int(request.received_at.timestamp())
    return {"X-Notes-Signature": sandbox.sign(secret, at, request.method, request.url, request.body)}


def told(what: str, number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"ev-{number}", "what": what, "note": "1001", "at": "2026-02-28T23:59:59Z", **more}


EVENTS = {
    "account": "acc-1",
    "events": [told("note.changed", 1), told("note.merged", 2, others=["1002"]), told("note.sung", 3)],
}
KNOWN = Event(
    EventKind.CHANGED,
    account="acc-1",
    object_type="notes",
    remote_id="1001",
    occurred_at=datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC),
)
WEBHOOKS = (
    Delivery(
        sign=signed,
        body=json.dumps(EVENTS).encode(),
        events=(
            KNOWN,
            replace(KNOWN, kind=EventKind.MERGED, others=("1002",)),
            replace(KNOWN, kind=EventKind.UNKNOWN),
        ),
    ),
    Delivery(sign=signed, method="GET", url="https://syncline.example/in/k3y?challenge=c4f3", challenge=b"c4f3"),
)
TARGET = Target(
    server=sandboxed(headers, touch=touch, merge=merge),
    object_type="notes",
    record=lambda n: {
        "title": f"Note {n}",
        "stars": Decimal("4.5"),
        "done": True,
        "due": "2026-02-28",
        "seen": "2026-02-28T23:59:59.123Z",
        "mood": "glad",
        "tags": ("idea", "work"),
        "author": f"writer{n}@notes.example",
    },
    rejected={"mood": "furious"},
    refusal={"error": {"message": "This is not how it is done."}},
    missing_id="999999",
    create=(Property("place", "Place"),),
    dataset=DatasetInfo("diary.entry", "Entries", (Field("headline", "Headline"), Field("written_by", "Written by"))),
    match=MatchStep("title", normalise="text"),
    log=("journal", lambda n: {"line": f"Line {n}"}),
    empty_pages=(lambda page: {**page, "notes": []}, lambda page: {"notes": [], "next": None}),
    webhooks=WEBHOOKS,
    reads=r"^/notes/(read|search)$",
)
TestNotes = conformance(Notes, TARGET)
