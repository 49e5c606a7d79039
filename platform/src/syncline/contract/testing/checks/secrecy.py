"""Secrets stay inside: the credentials the connector holds are canaries, easy to look for."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from syncline.contract import Capability, Verification

from ..check import attempt, check, expect
from ..delivery import Delivery
from ..lab import Lab
from ..proxy import answer

_LEVELS = threading.Lock()  # levels belong to the process, labs may run side by side


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.getMessage()} {record.exc_info}")


@check("no-secrets", Capability.CHECK)
def no_secrets(lab: Lab) -> None:
    """No secret is in a repr, a log record or an error's text, in good times and in bad."""
    session = lab.session()
    calls: list[Callable[[], object]] = [lambda: lab.call.check(session=session)]
    if {Capability.PUSH, Capability.DISCOVER} <= lab.able:
        changes = lab.changes(1)
        calls.append(lambda: lab.push(changes, session))
    if Capability.VERIFY in lab.able:
        calls += [partial(_verified, lab, delivery) for delivery in lab.target.webhooks]
    with _logged(lab.log) as texts:
        for call in calls:
            texts.append(_error_text(attempt(call)))
            for fault in (answer(401), answer(400, lab.target.refusal), answer(500), answer(429, Retry_After="1")):
                with lab.proxy.playing(fault):
                    texts.append(_error_text(attempt(call)))
        texts += [repr(lab.connector), repr(session.http), repr(getattr(lab.connector, "__dict__", {}))]
    shown = [text for text in texts if lab.canary in text]
    expect(not shown, f"A secret is shown: {shown[0].replace(lab.canary, '<the secret>')[:300] if shown else ''}")


def _verified(lab: Lab, delivery: Delivery) -> Verification:
    """With the canary for a secret of ours, and a signature by another one."""
    request = delivery.request("another", dt.datetime.now(dt.UTC))
    return lab.call.verify(request=request, secrets=[lab.canary])


def _error_text(got: object) -> str:
    """With its causes: a traceback prints them too."""
    parts = []
    while isinstance(got, BaseException):
        parts.append(f"{got!r} {got} {vars(got)}")
        got = got.__cause__ or (None if got.__suppress_context__ else got.__context__)
    return " ".join(parts) or repr(got)


@contextmanager
def _logged(named: logging.Logger) -> Iterator[list[str]]:
    """Everything logged at any level, by the session's logger and by all others."""
    with _LEVELS:
        yield from _listened(named)


def _listened(named: logging.Logger) -> Iterator[list[str]]:
    kept, root = _Kept(), logging.getLogger()
    levels = {logger: logger.level for logger in (root, named)}
    root.addHandler(kept)
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    try:
        yield kept.texts
    finally:
        root.removeHandler(kept)
        for logger, level in levels.items():
            logger.setLevel(level)
