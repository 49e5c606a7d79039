"""Syncs and runs as lists show them, each list in a fixed number of queries."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import OuterRef, QuerySet, Subquery

from syncline.connections import access
from syncline.syncs.models import Sync

from .models import Run


def with_last_run(syncs: QuerySet[Sync]) -> QuerySet[Any]:
    """With `last_run_id` and `last_run_state` of the newest run, None when there was none. A plan is none: it wrote nothing."""
    newest = Run.objects.filter(sync=OuterRef("pk")).exclude(kind=Run.Kind.PLAN).order_by("-id")
    return syncs.annotate(last_run_id=Subquery(newest.values("pk")[:1]), last_run_state=Subquery(newest.values("state")[:1]))


def visible_runs(user: User) -> QuerySet[Run]:
    runs = Run.objects.select_related("sync__connection", "version").defer("version__content", "sync__connection__credentials")
    return runs.filter(sync__connection__in=access.visible_connections(user))


def expected_records(run: Run) -> int | None:
    """How many records the run will read: as many as the last complete one of its kind; None when there was none."""
    before = Run.objects.filter(
        sync=run.sync_id, kind=run.kind, pk__lt=run.pk, state__in=(Run.State.SUCCEEDED, Run.State.PROBLEMS)
    )
    return run.expected or before.order_by("-id").values_list("read", flat=True).first()
