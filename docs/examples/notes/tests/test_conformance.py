from __future__ import annotations

from decimal import Decimal

from syncline.contract import DatasetInfo, Field, MatchStep, Property
from syncline.contract.testing import Target, conformance, sandboxed
from syncline_notes.connector import Notes

TARGET = Target(
    server=sandboxed(headers=lambda ready: {"Authorization": f"Bearer {ready['token']}"}),
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
    reads=r"^/notes/(read|search)$",
)
TestNotes = conformance(Notes, TARGET)
