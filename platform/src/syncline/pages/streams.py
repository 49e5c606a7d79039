"""How continuous syncs stand, as pages show it: on the sync's page, the run's, and the overview."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from syncline.connections import access
from syncline.runs.models import Run, RunPart
from syncline.runs.stream import standing
from syncline.runs.stream.standing import Part, Standing, State
from syncline.runs.workers import stream_processes
from syncline.syncs.models import Sync

from .base import Context, person
from .display import badge, duration

_TONES: Final = {
    State.RUNNING: "ok",
    State.STARTING: "queued",
    State.WAITING: "queued",
    State.PAUSED: "disabled",
    State.OFF: "",
    State.UNPUBLISHED: "disabled",
    State.BLOCKED: "failed",
    State.NO_PROCESS: "failed",
    State.TROUBLE: "failed",
}
_WORDS: Final = {State.NO_PROCESS: "no stream process is running"}


@dataclass(frozen=True, slots=True)
class Row:
    """A partition or shard in words. `since`: how long it has been failing; `next_try`: how long until it is tried again."""

    name: str
    badge: SafeString
    process: str
    position: str
    behind: str
    rate: str
    waits: str
    error: str
    since: str
    next_try: str


def of_sync(request: HttpRequest, sync: Sync) -> Context:
    found = standing.of_sync(sync)
    seen = access.visible_connections(person(request))
    return {**context(sync, found), "source_seen": sync.source_id is not None and seen.filter(pk=sync.source_id).exists()}


def of_run(run: Run) -> Context:
    """Nothing for other runs, and once it has ended."""
    if run.kind != Run.Kind.STREAM or run.state not in Run.ACTIVE:
        return {}
    return context(run.sync, standing.of_sync(run.sync))


def context(sync: Sync, found: Standing) -> Context:
    relays = any(one.row.kind == RunPart.Kind.RELAY for one in found.parts)
    return {
        "standing": found,
        "stream_badge": state_badge(found.state),
        "stream_troubled": found.state in standing.TROUBLED,
        "stream_rows": [row(one) for one in found.parts],
        "stream_tiles": tiles(found, relays=relays),
        "relays": relays,
        "behind": counted(found.behind, many=any(one.queue and one.queue.many for one in found.parts)),
        "oldest": duration(found.oldest, found.now) if found.oldest else "",
        "refused_address": refused_address(sync, relays=relays),
    }


def state_badge(state: State) -> SafeString:
    return badge(_TONES[state], _WORDS.get(state, state.value))


def refused_address(sync: Sync, *, relays: bool) -> str:
    name = "outgoing" if relays else "deadletter"
    return f"{reverse(f'admin:syncline_{name}_changelist')}?sync={sync.pk}&{'state__exact=refused' if relays else ''}".rstrip("&")


def counted(number: int | None, *, many: bool = False) -> str:
    return "–" if number is None else f"{number:,}{' or more' if many else ''}"


def tiles(found: Standing, *, relays: bool) -> list[tuple[str, int, str, bool]]:
    """Name, number, what it means, whether somebody should look: since the run began."""
    counts = found.counts
    taken = counts.get("created", 0) + counts.get("updated", 0)
    first = ("published", taken, "acknowledged there") if relays else ("taken in", taken, "new or changed here")
    return [
        (*first, False),
        ("unchanged", counts.get("unchanged", 0), "said nothing new", False),
        ("excluded", counts.get("excluded", 0), "left out by the filter", False),
        ("refused", counts.get("rejected", 0), "kept with the reason", bool(counts.get("rejected"))),
    ]


def row(part: Part) -> Row:
    state, label = _state(part)
    return Row(
        name=_name(part.row),
        badge=badge(state, label),
        process=f"{part.process.host}, process {part.process.pid}" if part.carried and part.process else "–",
        position=part.position or ("" if part.queue else "the oldest"),
        behind=counted(part.behind, many=bool(part.queue and part.queue.many)),
        rate=f"{part.row.rate or 0:,.1f}" if part.carried else "–",
        waits=duration(part.queue.oldest, part.now) if part.queue and part.queue.oldest else "",
        error=part.row.last_error,
        since=duration(part.row.failing_since, part.now) if part.failing and part.row.failing_since else "",
        next_try=duration(part.now, part.row.not_before) if part.pauses else "",
    )


def _name(one: RunPart) -> str:
    if one.kind == RunPart.Kind.RELAY:
        return f"Shard {one.partition}"
    if not one.partition:
        return "All of it"
    return f"Partition {one.partition}" if one.partition != "follow" else "What changes there"


def _state(part: Part) -> tuple[str, str]:
    if part.failing:
        return "failed", f"tried {part.row.attempt} times" if part.row.attempt > 1 else "cannot go on"
    if part.carried:
        return "ok", "running"
    return "queued", "waits for a process"


SHOWN: Final = 12


def of_user(user: User) -> list[dict[str, Any]]:
    """Continuous syncs on the overview, those in trouble first."""
    seen = Sync.objects.filter(continuous=True, enabled=True, connection__in=access.visible_connections(user))
    syncs = list(seen.order_by("name", "pk")[:SHOWN])
    known = standing.of_syncs(syncs) if syncs else {}
    rows = [_overview_row(one, known[one.pk]) for one in syncs]
    return sorted(rows, key=lambda one: not one["trouble"])


def _overview_row(sync: Sync, found: Standing) -> dict[str, Any]:
    relays = any(one.row.kind == RunPart.Kind.RELAY for one in found.parts)
    return {
        "sync": sync,
        "badge": state_badge(found.state),
        "trouble": found.state in standing.TROUBLED,
        "reason": found.reason if found.state in (State.BLOCKED, State.TROUBLE) else "",
        "behind": counted(found.behind),
        "rate": f"{found.rate:,.1f}",
        "oldest": duration(found.oldest, found.now) if found.oldest else "",
        "letters": found.open_letters,
        "address": reverse("admin:syncline_sync_change", args=[sync.pk]),
        "refused_address": refused_address(sync, relays=relays),
    }


def processes(user: User) -> list[dict[str, Any]] | None:
    """Stream processes; None for who may not know of the machines."""
    if not user.has_perm("syncline.view_streamworker"):
        return None
    return [
        {
            "process": one,
            "badge": badge("failed", "silent") if one.silent else badge("ok", "streams"),
            "quiet": duration(one.beat, one.beat + dt.timedelta(seconds=one.quiet_s)),
        }
        for one in stream_processes()
    ]
