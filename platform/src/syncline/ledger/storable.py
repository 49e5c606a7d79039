"""Texts and values in the form in which PostgreSQL takes them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

_NUL = re.compile(r"(\\\\)|\\u0000")  # a pair of backslashes is a backslash, and what follows it is text


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in the ledger")


def storable(text: str) -> str:
    """As PostgreSQL takes it: it has neither NUL nor half a surrogate pair in texts."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def dumps(value: Any) -> str:
    """As JSON that PostgreSQL takes; see `storable`."""
    try:
        text = orjson.dumps(value, default=_plain).decode()
    except TypeError:  # half a surrogate pair, else this raises as well
        text = json.dumps(value, default=_plain, ensure_ascii=False).encode(errors="replace").decode()
    return _NUL.sub(lambda found: found[1] or "\ufffd", text) if "\\u0000" in text else text
