"""System checks of the background worker's settings. Ids are documented here and nowhere reused.

syncline.E002  Q_CLUSTER lets Django-Q2 start a doorbell again, or end it, while it is still being answered
syncline.E003  a value of Q_CLUSTER that Syncline cannot work with
syncline.E004  SYNCLINE_(STREAM_)LEASE_SECONDS, SYNCLINE_STALL_SECONDS or SYNCLINE_STOP_SECONDS make no sense
syncline.W004  they do, but a stall lasts longer than a minute, or calls get little time
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core import checks

BROKER: Final = "syncline.background.broker.Bell"
KEEP: Final = "Keep the values of Q_CLUSTER in syncline_host.settings, or adapt the others with it."

#: value of Q_CLUSTER → what Django-Q2 does when it is left out, what is wanted, and what happens otherwise
WANTED: Final[dict[str, tuple[Any, Any, str]]] = {
    "broker_class": (None, BROKER, "bells are kept and handed out again for as long as a result is not confirmed"),
    "orm": (None, "default", "a bell rung in a transaction could be heard before that one commits, or be lost"),
    "queue_limit": (None, 1, "bells wait in a busy worker while others are idle"),
    "bulk": (1, 1, "bells wait in a busy worker while others are idle"),
    "max_attempts": (0, 1, "Django-Q2 repeats what failed, which our own parts do already, and better"),
    "ack_failures": (False, True, "a drain that failed is repeated for ever"),
    "save_limit": (250, -1, "every answered bell is stored, under a lock that all workers wait for"),
    "catch_up": (True, False, "after a pause every missed minute rings once"),
    "sync": (False, False, "whoever rings drains the queue himself, inside his transaction"),
}


def doorbell_times(**_options: Any) -> list[checks.CheckMessage]:
    """A bell must not be heard twice because it waited, nor a drain be cut off that was allowed to go on."""
    return [checks.Error(text, hint=KEEP, id="syncline.E002") for text in _wrong_times(settings.Q_CLUSTER)]


def _wrong_times(conf: dict[str, Any]) -> Iterator[str]:
    timeout, retry = conf.get("timeout"), conf.get("retry", 60)
    drain = float(settings.SYNCLINE_DRAIN_SECONDS) + float(settings.SYNCLINE_LEASE_SECONDS)
    if timeout is None:
        yield "Q_CLUSTER['timeout'] is not set: a drain that hangs is never ended."
        return
    longest = (conf.get("queue_limit", 1) + conf.get("bulk", 1) + 2) * timeout
    if retry <= longest:
        yield f"Q_CLUSTER['retry'] is {retry} s, but a doorbell may wait {longest} s in a cluster."
    if timeout <= drain:
        yield (
            f"Q_CLUSTER['timeout'] is {timeout} s, not more than the {drain:.0f} s that a drain may take: "
            "SYNCLINE_DRAIN_SECONDS, and SYNCLINE_LEASE_SECONDS for the batch it is at."
        )


def doorbell_values(**_options: Any) -> list[checks.CheckMessage]:
    conf: dict[str, Any] = settings.Q_CLUSTER
    return [
        checks.Error(
            f"Q_CLUSTER[{name!r}] is {conf.get(name, usual)!r}, but must be {wanted!r}: otherwise {why}.",
            hint=f"Set Q_CLUSTER[{name!r}] = {wanted!r} in the settings module.",
            id="syncline.E003",
        )
        for name, (usual, wanted, why) in WANTED.items()
        if conf.get(name, usual) != wanted
    ]


def life_signs(**_options: Any) -> list[checks.CheckMessage]:
    return list(_impossible()) or list(_unwise())


def _impossible() -> Iterator[checks.CheckMessage]:
    conf: dict[str, Any] = settings.Q_CLUSTER
    timeout = float(conf.get("timeout") or 0)
    limits: dict[str, tuple[float, float, str]] = {
        "SYNCLINE_LEASE_SECONDS": (1, timeout, "a claim must outlive a call, and end before Django-Q2 ends the drain"),
        "SYNCLINE_STREAM_LEASE_SECONDS": (1, timeout, "a process needs time to show that it is still at it"),
        "SYNCLINE_STALL_SECONDS": (2, timeout, "a worker needs time to show that it lives"),
        "SYNCLINE_STOP_SECONDS": (0, float("inf"), "seconds cannot be negative"),
    }
    for name, (least, most, why) in limits.items():
        value = float(getattr(settings, name))
        if not least <= value <= most:
            yield checks.Error(
                f"{name} is {value:g}: {why}.",
                hint=f"Set {name} in the environment to a number from {least:g} to {most:g}, or leave it out.",
                id="syncline.E004",
            )


def _unwise() -> Iterator[checks.CheckMessage]:
    lease, stall = float(settings.SYNCLINE_LEASE_SECONDS), float(settings.SYNCLINE_STALL_SECONDS)
    if stall > 45:
        yield checks.Warning(
            f"SYNCLINE_STALL_SECONDS is {stall:g}: a worker that stalled is not started anew within a minute.",
            hint="Set it to 45 or less, or leave it out (40).",
            id="syncline.W004",
        )
    if lease < 15:
        yield checks.Warning(
            f"SYNCLINE_LEASE_SECONDS is {lease:g}: a call gets only {lease / 2:g} s; what is answered later has to be looked up.",
            hint="Set it to 15 or more, or leave it out (30).",
            id="syncline.W004",
        )


def register_checks() -> None:
    for check in (doorbell_times, doorbell_values, life_signs):
        checks.register(check, "syncline")
