"""The doorbell and the clock: the only package that knows Django-Q2.

A task carries the name of a queue and nothing else; whoever answers drains the claimable rows of our own tables. So a
doorbell that is lost, doubled or undecodable costs latency and never work. What Django-Q2 does not promise (see
docs/jobs.md) is therefore not relied upon: no retries, no results, no schedules but one.
"""

from __future__ import annotations

from .bell import BACKLOG, Drain, answer, every, hide_admin, install_schedule, on, ring, stopping, tick
from .lookout import look_out

__all__ = [
    "BACKLOG",
    "Drain",
    "answer",
    "every",
    "hide_admin",
    "install_schedule",
    "look_out",
    "on",
    "ring",
    "stopping",
    "tick",
]
