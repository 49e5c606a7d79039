"""Opting in: one test per check, on one server per class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncline.contract import ConnectorSpec

from . import checks
from .check import CHECKS, Breach, Check, LeftOut
from .lab import Lab
from .patience import within
from .target import Target

__all__ = ["CHECKS", "breach_of", "checks", "conformance", "left_out"]  # importing `checks` fills CHECKS


WAITS = 15  # times the lag that a check waits at most


def conformance(connector: type[ConnectorSpec], target: Target) -> type:
    """A test class with every check for this connector. Assign it to a name that starts with `Test`."""
    _refuse_stale(target)
    methods = {f"test_{name.replace('-', '_')}": _method(check) for name, check in CHECKS.items()}
    return type(f"Test{connector.__name__}", (), {"connector": connector, "target": target, **methods})


def left_out(check: Check, lab: Lab) -> str:
    """Why the check does not apply, "" when it does."""
    if check.name in lab.target.skip:
        return lab.target.skip[check.name]
    lacking = sorted(check.needs - lab.able)
    return f"{lab.info.key} does not offer {', '.join(lacking)}" if lacking else ""


def breach_of(check: Check, lab: Lab) -> str:
    """What was seen and the rule, "" when the rule is kept. Errors the connector should not have raised pass through."""
    if lab.hung:
        return f"{check.name}: Not run, because {lab.hung} has not ended and may still write."
    limit = lab.target.patience + WAITS * lab.object_type.visibility_lag
    try:
        ended = within(limit, lambda: check.run(lab), f"After {limit:.0f} s it had not ended.")
    except Breach as breach:
        ended, lab.hung = breach, check.name
    if isinstance(ended, Breach):
        return f"{check.name}: {ended}\nRule: {check.rule}"
    if ended is not None:
        raise ended
    return ""


def _method(check: Check) -> Callable[[Any, Lab], None]:
    def method(self: Any, syncline_lab: Lab) -> None:  # noqa: ARG001
        reason = left_out(check, syncline_lab)
        if reason:
            pytest.skip(f"{check.name}: {reason}")
        try:
            breach = breach_of(check, syncline_lab)
        except LeftOut as left:
            pytest.skip(f"{check.name}: {left}")
        if breach:
            pytest.fail(breach, pytrace=False)

    method.__doc__ = check.rule
    return method


def _refuse_stale(target: Target) -> None:
    unknown = sorted(set(target.skip) - set(CHECKS))
    if unknown:
        raise ValueError(f"The target skips checks that do not exist: {', '.join(unknown)}. Known: {', '.join(CHECKS)}.")
    silent = sorted(name for name, reason in target.skip.items() if not reason.strip())
    if silent:
        raise ValueError(f"The target skips {', '.join(silent)} without saying why.")
