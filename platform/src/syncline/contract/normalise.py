"""Normalisers of match values, by name: equal results mean "the same" for a match step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

#: A domain or an address as most are written, and as this module leaves it; what follows "//" may say anything.
_PLAIN = re.compile(
    r"(?:https?://(?=[^/]+(?:/[!-~]*)?$)|(?=[^/]+/?$))(?:www\.)?+([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+)\.?(?:/.*)?"
)
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


@lru_cache(maxsize=8192)  # the same few thousand are asked for by everybody who handles a page of records
def domain(value: str) -> str:
    """Host name of an address or a bare domain: lower case, no `www.`, port or trailing dot; "" when there is none."""
    raw = value.strip()
    if not raw:
        return ""
    if plain := _PLAIN.fullmatch(raw):
        return plain[1]
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
