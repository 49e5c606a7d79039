"""Queries: what is put into them, and how long they may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

from syncline.contract import Permanent

LONGEST: Final = 12_000  # of an address that bears a query; beyond 16,000 Salesforce answers 414
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_ESCAPES: Final = str.maketrans({"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def text(value: str) -> str:
    return f"'{value.translate(_ESCAPES)}'"


def name(given: str) -> str:
    if not _NAME.fullmatch(given):
        raise Permanent(f"“{given[:50]}” is no name of a field or an object of Salesforce. Correct the mapping.")
    return given


def select(fields: Iterable[str], of: str, where: str = "", tail: str = "") -> str:
    names = ",".join(dict.fromkeys(name(field) for field in fields))
    parts = ("SELECT", names, "FROM", name(of), f"WHERE {where}" if where else "", tail)
    return " ".join(part for part in parts if part)


def portions(values: Sequence[str], most: int = 500) -> Iterator[list[str]]:
    """Lists of literals, each short enough for one query."""
    portion: list[str] = []
    length = 0
    for literal in (text(value) for value in dict.fromkeys(values)):
        cost = len(quote(literal)) + 3
        if portion and (length + cost > LONGEST or len(portion) >= most):
            yield portion
            portion, length = [], 0
        portion.append(literal)
        length += cost
    if portion:
        yield portion
