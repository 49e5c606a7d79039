"""Whatever a producer puts into a message, or a mapping into one of ours: it has a problem of its own, and stops no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from syncline.contract import Change, Code, Kind, Message, ObjectType, Op, Property, RecordRejected, RemoteRecord
from syncline_kafka.envelope import STRUCTURED, Reader, packed

pytestmark = pytest.mark.unit
TOPIC = ObjectType(
    "odd",
    "odd",
    (Property("$", "All", Kind.JSON), Property("more", "More", Kind.JSON), Property("count", "Count", Kind.NUMBER)),
    {Op.CREATE: 500},
    log=True,
)
DEEP = "[" * 300 + "]" * 300


class Raw:
    """As librdkafka's message answers."""

    def __init__(self, body: bytes | None, headers: Any = (), stamp: int = 1_700_000_000_000) -> None:
        self._body, self._headers, self._stamp = body, headers, stamp

    def value(self) -> bytes | None:
        return self._body

    def key(self) -> bytes:
        return b"\xffkey"

    def headers(self) -> list[tuple[str, bytes | None]]:
        if isinstance(self._headers, Exception):
            raise self._headers
        return list(self._headers)

    def timestamp(self) -> tuple[int, int]:
        return 1, self._stamp

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


def read(raw: Raw, *names: str) -> tuple[RemoteRecord, Message]:
    record = Reader(TOPIC, names or ("$",)).record(raw)  # type: ignore[arg-type]
    assert record.message is not None
    return record, record.message


def event(**told: Any) -> Raw:
    """A CloudEvent in structured mode."""
    body = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}, **told})
    return Raw(body.encode(), [("content-type", STRUCTURED.encode())])


@pytest.mark.parametrize(
    "raw",
    [
        Raw(f'{{"more": {DEEP}}}'.encode()),
        Raw(b"{}", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")),
        event(data={"a": "\ud800"}),
        event(data=json.loads(DEEP)),
    ],
    ids=["deep", "header's name", "half a pair", "deep data"],
)
def test_what_cannot_be_read_is_a_message_with_a_problem(raw: Raw) -> None:
    record, message = read(raw, "more")
    assert message.problem
    assert (record.id, dict(record.properties), message.body) == ("0:7", {}, raw.value())


@pytest.mark.parametrize("stamp", [253_402_300_800_000, 2**63 - 1])
def test_a_time_that_no_calendar_has_is_not_known(stamp: int) -> None:
    record, message = read(Raw(b"{}", stamp=stamp))
    assert (record.modified_at, message.at, message.problem, dict(record.properties)) == (None, None, "", {"$": "{}"})


@pytest.mark.parametrize("told", [{"a": 1}, [1], float("inf"), float("nan"), 1.5, "one", "9" * 19, 2**63, "9" * 5000])
def test_a_sequence_that_nobody_counts_is_none(told: Any) -> None:
    raw = event(sequence=told) if not isinstance(told, str) else Raw(b"{}", [("ce_sequence", told.encode())])
    assert read(raw)[1].sequence is None


def test_the_largest_sequences_are_kept() -> None:
    for told in (2**63 - 1, -(2**63) + 1):
        assert read(Raw(b"{}", [("ce_sequence", str(told).encode())]))[1].sequence == told


def test_texts_are_such_as_every_database_takes() -> None:
    message = read(event(id="a\0b\ud800", type="\0"))[1]
    for text in (message.id, message.type, message.key or ""):
        text.encode()
        assert "\0" not in text


@pytest.mark.parametrize(
    ("whole", "said"),
    [('{"a": 1e999}', "cannot be written as JSON"), ("[]", "is no object")],
)
def test_a_message_that_makes_no_json_is_refused_by_itself(whole: str, said: str) -> None:
    change = Change("1", Op.CREATE, properties={"$": whole, "count": 1}, message=Message(key="k"))
    with pytest.raises(RecordRejected, match=said) as refused:
        packed(TOPIC, change, "here")
    assert refused.value.code == Code.INVALID_VALUE


def test_a_number_larger_than_json_libraries_read_is_refused_by_itself() -> None:
    change = Change("1", Op.CREATE, properties={"count": 2**70}, message=Message(key="k"))
    with pytest.raises(RecordRejected, match="cannot be written as JSON"):
        packed(TOPIC, change, "here")
