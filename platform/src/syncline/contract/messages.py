"""What a record of a log is besides its properties: messages have an order, and are never changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a log, as it is pushed to one or pulled from one.

    `id`: names it among all messages of its `source`, the same in every copy of it; "" where the producer gave none. `key`:
    messages of one key keep their order, None where it has none. `sequence`: of two messages with one key, the higher is the
    younger, a number of 64 bits with sign; None where the producer counts nothing. `type`, `source`, `at` (UTC): what happened,
    where and when. `headers`: others of its headers, as text. `body`: the bytes as they came, in a pull; in a push they are
    sent as they are instead of the properties, unless empty. `problem`: in a pull, why its properties could not be read, as a
    sentence: the host keeps it with this reason, and goes on.
    """

    id: str = ""
    key: str | None = None
    sequence: int | None = None
    type: str = ""
    source: str = ""
    at: dt.datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str = ""
