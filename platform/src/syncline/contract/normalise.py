"""Normalisers of match values, by name: equal results mean "the same" for a match step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

_PLAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")  # a domain as most are written, and as this module leaves it
_LABELS = re.compile(r"[^.\s@/]+(\.[^.\s@/]+)+")


def text(value: str) -> str:
    """Unicode-normalised, single spaces, case-folded."""
    return " ".join(unicodedata.normalize("NFKC", value).split()).casefold()


def exact(value: str) -> str:
    return value


def email(value: str) -> str:
    return value.strip().lower()


def identifier(value: str) -> str:
    """Upper case without spaces: company numbers and other codes."""
    return re.sub(r"\s+", "", value).upper()


def domain(value: str) -> str:
    """Host name of an address or a bare domain: lower case, no `www.`, port or trailing dot; "" when there is none."""
    raw = value.strip()
    if not raw:
        return ""
    if _PLAIN.fullmatch(raw) and not raw.startswith("www."):
        return raw
    try:
        host = urlsplit(raw if "//" in raw else f"//{raw}").hostname or ""
    except ValueError:
        return ""
    host = host.rstrip(".").removeprefix("www.")
    if not _LABELS.fullmatch(host):
        return ""
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""


NORMALISERS: Final[dict[str, Callable[[str], str]]] = {
    "text": text,
    "exact": exact,
    "email": email,
    "identifier": identifier,
    "domain": domain,
}
