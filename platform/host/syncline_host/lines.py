"""One line of the log for each record: what others say, such as a broker's answer, begins no line of its own."""

from __future__ import annotations

import logging
from typing import Final

_ENDS: Final = {ord(end): end.encode("unicode_escape").decode() for end in "\n\r\v\f\x1b\x1c\x1d\x1e\x85\u2028\u2029"}


class OneLine(logging.Formatter):
    """What follows a record, such as a traceback, has lines as before."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return super().formatMessage(record).translate(_ENDS)
