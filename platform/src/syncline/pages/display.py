"""Small pieces that several pages show: states, numbers, times, links."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

#: State → tone of its badge. What is not named here is neutral.
TONES: Final = {
    "ok": "good",
    "loaded": "good",
    "succeeded": "good",
    "delivered": "good",
    "created": "good",
    "updated": "good",
    "done": "good",
    "read": "good",
    "queued": "busy",
    "running": "busy",
    "leased": "busy",
    "new": "busy",
    "pending": "busy",
    "waiting": "busy",
    "stored": "busy",
    "problems": "warn",
    "uncertain": "warn",
    "unknown": "warn",
    "ambiguous": "warn",
    "unroutable": "warn",
    "unreadable": "warn",
    "merged": "warn",
    "gone": "warn",
    "disabled": "warn",
    "reconnect": "bad",
    "settings": "bad",
    "missing": "bad",
    "broken": "bad",
    "failed": "bad",
    "rejected": "bad",
    "dead": "bad",
}


def badge(state: str, label: str = "") -> SafeString:
    """The state in words; the colour only repeats them."""
    return format_html('<span class="badge badge-{}">{}</span>', TONES.get(state, "plain"), label or state)


def link(address: str, text: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', address, text)


def duration(begin: dt.datetime | None, end: dt.datetime | None) -> str:
    if begin is None:
        return "–"
    seconds = max(0.0, ((end or timezone.now()) - begin).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shortened(text: str, length: int = 120) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
