"""The overview on the admin's front page."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count
from django.urls import reverse

from syncline import registry
from syncline.connections import access
from syncline.connections.models import ConnectionState
from syncline.inbox import overview as inbox
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import overview as runs
from syncline.runs import progress
from syncline.runs.models import Run
from syncline.runs.pull.start import PULLING
from syncline.runs.workers import listed
from syncline.syncs.models import Sync

from . import directions, drift, streams
from .display import TONES, badge, duration
from .filters import REVIEW

SHOWN = 8


def overview(user: User) -> dict[str, Any]:
    seen = runs.visible_runs(user)
    return {
        "connections": connections_by_state(user),
        "active": [
            _row(run)
            for run in progress.with_counts(
                seen.filter(state__in=Run.ACTIVE).exclude(kind=Run.Kind.STREAM).order_by("-id")[:SHOWN]
            )
        ],
        "problems": [_row(run) for run in seen.filter(state__in=(Run.State.PROBLEMS, Run.State.FAILED)).order_by("-id")[:SHOWN]],
        "last": [_row(run) for run in seen.filter(state=Run.State.SUCCEEDED).order_by("-id")[:SHOWN]],
        "attention": attention(user),
        "inbox": inbox_counts(user),
        "blocked": blocked_syncs(user),
        "changed": drift.of_user(user),
        "broken": registry.broken(),
        "workers": workers(user),
        "streams": streams.of_user(user),
        "stream_processes": streams.processes(user),
    }


def workers(user: User) -> list[dict[str, Any]] | None:
    """The processes that carry out runs; None for who may not know of the machines."""
    if not user.has_perm("syncline.view_workercanary"):
        return None
    return [
        {
            "worker": one,
            "badge": badge("failed", "silent") if one.silent else badge("ok", "works"),
            "quiet": duration(one.beat, one.beat + dt.timedelta(seconds=one.quiet_s)),
        }
        for one in listed()
    ]


def connections_by_state(user: User) -> list[dict[str, Any]]:
    counts = dict(access.visible_connections(user).order_by().values_list("state").annotate(Count("pk")))
    address = reverse("admin:syncline_connection_changelist")
    return [
        {"label": label, "count": counts[state], "address": f"{address}?state__exact={state}", "tone": TONES.get(state, "plain")}
        for state, label in ConnectionState.choices
        if state in counts
    ]


def attention(user: User) -> list[dict[str, Any]]:
    """Records that wait for a person."""
    states = [*REVIEW, Link.State.REJECTED]
    links = Link.objects.filter(state__in=states, connection__in=access.visible_connections(user))
    counts: dict[str, int] = dict(links.order_by().values_list("state").annotate(Count("pk")))
    address = reverse("admin:syncline_link_changelist")
    review = sum(counts.get(state, 0) for state in REVIEW)
    return [
        {"label": "for review", "count": review, "address": f"{address}?attention=review"},
        {"label": "rejected", "count": counts.get(Link.State.REJECTED, 0), "address": f"{address}?attention=rejected"},
        *arrived(user),
    ]


def arrived(user: User) -> list[dict[str, Any]]:
    """What pulls left for a person; nothing while no sync pulls."""
    seen = Sync.objects.filter(connection__in=access.visible_connections(user), direction__in=PULLING)
    if not seen.exists():
        return []
    arrivals, conflicts = Arrival.objects.filter(sync__in=seen), Conflict.objects.filter(sync__in=seen, decided_at=None)
    return [
        {
            "label": "from there, for review",
            "count": arrivals.exclude(state__in=(Link.State.WAITING, Link.State.PENDING)).count(),
            "address": f"{reverse('admin:syncline_arrival_changelist')}?state=person",
        },
        {"label": "conflicts", "count": conflicts.count(), "address": reverse("admin:syncline_conflict_changelist")},
    ]


def inbox_counts(user: User) -> list[dict[str, Any]]:
    """None while nobody has a webhook address."""
    if not inbox.visible_addresses(user).exists() and not inbox.visible_events(user).exists():
        return []
    events, deliveries = reverse("admin:syncline_inboxevent_changelist"), reverse("admin:syncline_delivery_changelist")
    counts = inbox.counts(user)
    shown = [
        ("stored", "not read yet", f"{deliveries}?state__exact=stored"),
        ("waiting", "waiting", f"{events}?state__exact=waiting"),
        ("dead", "given up", f"{events}?state__exact=dead"),
        ("unroutable", "of no connected account", f"{events}?state__exact=unroutable"),
        ("unreadable", "could not be read", f"{deliveries}?state__exact=unreadable"),
        ("refused", "refused today", reverse("admin:syncline_webhookaddress_changelist")),
    ]
    return [
        {"label": label, "count": counts[key], "address": address, "trouble": key not in ("stored", "waiting")}
        for key, label, address in shown
    ]


def blocked_syncs(user: User) -> list[dict[str, str]]:
    """Scheduled syncs that could not start when they were due. Continuous ones are shown by themselves."""
    seen = Sync.objects.filter(connection__in=access.visible_connections(user), enabled=True, blocked_reason__isnull=False)
    seen = seen.filter(continuous=False)
    return [
        {"name": name, "reason": reason or "", "address": reverse("admin:syncline_sync_change", args=[pk])}
        for pk, name, reason in seen.order_by("name", "pk").values_list("pk", "name", "blocked_reason")[:SHOWN]
    ]


def _row(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "badge": badge(run.state, run.get_state_display()),
        "kind": directions.kind(run),
        "took": duration(run.started_at, run.finished_at),
        "address": reverse("admin:syncline_run_change", args=[run.pk]),
    }
