"""Takes secrets out of log records and sentences: known values wherever they stand, and whatever follows a telling name."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .secrets import MASK, reveal

SHORTEST = 5  # a shorter secret would blank out ordinary words
NAMES = r"access_token|refresh_token|id_token|client_secret|code_verifier|password|api_key|apikey|private_key|secret|token"
_NAMED = re.compile(rf"""(?i)\b((?:[\w-]*)(?:{NAMES})["']?\s*[=:]\s*["']?)([^\s"'&,;{{}}\[\]()]+)""")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{5,}")

Secrets = Callable[[], Iterable[str]]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the given secrets, and without what looks like one by its name."""
    known = {reveal(s) for s in secrets}
    lines = {line for secret in known if "\n" in secret for line in secret.splitlines()}
    for secret in sorted(known | lines, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    text = _SCHEME.sub(lambda found: f"{found[1]} {MASK}", _PEM.sub(MASK, text))
    return _NAMED.sub(lambda found: f"{found[1]}{MASK}", text)


def secret_values(*sources: Any) -> list[str]:
    """Every text inside credentials, as deep as they go."""
    found: list[str] = []
    for source in sources:
        if isinstance(source, str):
            found.append(reveal(source))
        elif isinstance(source, Mapping):
            found += secret_values(*source.values())
        elif isinstance(source, list | tuple):
            found += secret_values(*source)
    return found


class RedactingLogger(logging.Logger):
    """Hands its records to the logger of its name, redacted. Belongs to one session and knows that session's secrets."""

    def __init__(self, name: str, secrets: Secrets) -> None:
        super().__init__(name)
        self.parent = logging.getLogger(name)
        self._secrets = secrets

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's own name; it would otherwise remember old levels
        return self.manager.disable < level and level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        secrets = list(self._secrets())
        record.msg, record.args = redact(record.getMessage(), secrets), None
        if record.exc_info:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip(), secrets)
            record.exc_info = None
        super().handle(record)
