"""Putting records in line: parts that are lists of keys, and the name under which workers are rung for parts."""

from __future__ import annotations

from collections.abc import Sequence

from .models import Run, RunPart

QUEUE = "runs"
KEYS_PER_PART = 2000


def add_keys(run: Run, keys: Sequence[str], priority: int) -> None:
    """The caller rings when its transaction commits."""
    lists = [list(keys[start : start + KEYS_PER_PART]) for start in range(0, len(keys), KEYS_PER_PART)]
    RunPart.objects.bulk_create([RunPart(run=run, kind=RunPart.Kind.KEYS, keys=some, priority=priority) for some in lists])
