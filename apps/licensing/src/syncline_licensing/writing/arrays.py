"""Columns of a batch as the texts of PostgreSQL's arrays: written by a few calls each, where psycopg goes value by value."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

_BETWEEN = "\0"  # no text that PostgreSQL takes has it


def texts(values: Iterable[str]) -> str:
    """None of them has a NUL."""
    joined = _BETWEEN.join(values)
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    if '"' in joined:
        joined = joined.replace('"', '\\"')
    return '{"' + joined.replace(_BETWEEN, '","') + '"}'


def numbers(values: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if one is None else str(one) for one in values]) + "}"


def booleans(values: Iterable[bool]) -> str:
    return "{" + ",".join(["t" if one else "f" for one in values]) + "}"


def moments(values: Iterable[dt.datetime | None]) -> str:
    return "{" + ",".join(["NULL" if one is None else one.isoformat() for one in values]) + "}"
