"""Ids: 15 letters and digits that differ by case, or 18, whose last three tell the case of the others."""

from __future__ import annotations

import re
from typing import Any, Final

_ID: Final = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?", re.ASCII)
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def full(value: Any) -> str:
    """The id with 18 letters, as the API gives it; "" for what is none."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return ""
    return value if len(value) == 18 else value + "".join(_case(value[start : start + 5]) for start in (0, 5, 10))


def _case(five: str) -> str:
    return _LETTERS[sum(1 << place for place, letter in enumerate(five) if letter.isupper())]
