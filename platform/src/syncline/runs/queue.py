"""The name under which workers are rung for parts of runs."""

from __future__ import annotations

QUEUE = "runs"
