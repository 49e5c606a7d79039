"""Errors are named after what happens next. The docstring is the sentence shown when none is given.

`runs/outcome.py` turns them into states of runs, connections and retries.
"""

from __future__ import annotations

import datetime as dt
from inspect import cleandoc

from .values import Code


class SynclineError(Exception):
    """Something went wrong."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or cleandoc(self.__doc__ or ""))


class ConfigError(SynclineError):
    """A setting is wrong. An administrator must change it before this can work."""


class AuthError(SynclineError):
    """The account refused our credentials. Reconnect it."""


class Retryable(SynclineError):
    """The system could not be reached; nothing was carried out. It is tried again by itself.

    `after`: seconds to wait at least, None when the vendor did not say.
    """

    def __init__(self, message: str = "", after: float | None = None) -> None:
        super().__init__(message or "The system could not be reached; nothing was carried out. It is tried again by itself.")
        self.after = after


class RateLimited(Retryable):
    """The account's call allowance is used up; nothing was carried out. It goes on when there is room.

    `scope`: name of the Limit that was hit, "" when unknown.
    """

    def __init__(self, message: str = "", after: float | None = None, scope: str = "") -> None:
        super().__init__(
            message or "The account's call allowance is used up; nothing was carried out. It goes on when there is room.",
            after,
        )
        self.scope = scope


class OutcomeUnknown(SynclineError):
    """The request was sent, but no usable answer came back: it may or may not have been carried out.

    `sent_at`: when the request left, UTC.
    """

    def __init__(self, message: str = "", sent_at: dt.datetime | None = None) -> None:
        super().__init__(
            message or "The request was sent, but no usable answer came back: it may or may not have been carried out."
        )
        self.sent_at = sent_at or dt.datetime.now(dt.UTC)


class RecordRejected(SynclineError):
    """The system refused this record."""

    def __init__(self, message: str = "", key: str = "", property: str | None = None, code: Code = Code.OTHER) -> None:
        super().__init__(message)
        self.key, self.property, self.code = key, property, code


class Permanent(SynclineError):
    """The system refused the request; sending it again would not help."""


class UnsupportedFeature(SynclineError):
    """The connector does not offer this."""


class ConnectorFault(SynclineError):
    """The connector broke its contract. Report it to the connector's author."""
