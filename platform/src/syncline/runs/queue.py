"""Putting in line: records as parts that are lists of keys, syncs that follow others, and the names of the bells."""

from __future__ import annotations

from collections.abc import Sequence

from syncline import background
from syncline.syncs.models import Sync

from .models import Run, RunPart

QUEUE = "runs"
TICK = "tick"
WHOLE = (Run.Kind.FULL, Run.Kind.RETRY)
"""Kinds of runs after which followers look at everything too."""
KEYS_PER_PART = 2000


def add_keys(run: Run, keys: Sequence[str], priority: int) -> None:
    """The caller rings when its transaction commits."""
    lists = [list(keys[start : start + KEYS_PER_PART]) for start in range(0, len(keys), KEYS_PER_PART)]
    RunPart.objects.bulk_create([RunPart(run=run, kind=RunPart.Kind.KEYS, keys=some, priority=priority) for some in lists])


def mark_followers(run: Run) -> None:
    """In the transaction that closes the run: what follows it is to start, and so is the sync itself if it was marked meanwhile.

    After a plan, a failure or a person's cancelling nothing starts.
    """
    marked = Sync.objects.filter(pk=run.sync_id, follows_run_id__isnull=False).exists()
    if run.state in (Run.State.SUCCEEDED, Run.State.PROBLEMS):
        followers = Sync.objects.filter(follows_id=run.sync_id, enabled=True)
        if run.kind in WHOLE:
            marked |= bool(followers.update(follows_run_id=run.pk))
        elif run.kind in (Run.Kind.CHANGES, Run.Kind.KEYS) and run.created + run.adopted:
            marked |= bool(followers.filter(follows_run_id__isnull=True).update(follows_run_id=run.pk))
    if marked:
        background.ring(TICK)
