"""What the demo shows while it works and when it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connections
from django.db.models import Sum
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from syncline.connections.models import Connection
from syncline.runs.models import Run, RunPart

OUTCOMES = ("created", "updated", "adopted", "unchanged", "ambiguous", "rejected")
DONE = (*OUTCOMES, "excluded", "gone")


@dataclass(frozen=True, slots=True)
class PassResult:
    """One pass over one object. Calls are the sandbox's own count. `number` 0: the plan, which counts what would happen."""

    object: str
    number: int
    created: int
    updated: int
    adopted: int
    unchanged: int
    ambiguous: int
    rejected: int
    waiting: int
    write_calls: int
    read_calls: int
    seconds: float
    records: int
    state: str

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        return {"object": plain.pop("object"), "pass": plain.pop("number"), **plain}


def result(run: Run, number: int, counters: dict[str, int], seconds: float) -> PassResult:
    return PassResult(
        object=run.sync.object_type,
        number=number,
        waiting=run.waiting,
        write_calls=counters["write_calls"],
        read_calls=counters["read_calls"],
        seconds=round(seconds, 2),
        records=run.read,
        state=run.get_state_display(),
        **{name: getattr(run, name) for name in OUTCOMES},
    )


def account(connection: Connection) -> str:
    """Its name, and its id where the name does not say it."""
    name, key = connection.account_name, connection.account_id
    return name if key in name else f"{name} (account {key})"


@contextmanager
def progress(console: Console, title: str, total: int, run_of: Sequence[int]) -> Iterator[None]:
    """A bar fed from the run's counters in the database; `run_of` gets the run's id once there is one."""
    bar = Progress(TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
    with bar:
        task = bar.add_task(title, total=total)
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(0.3):
                bar.update(task, completed=min(total, _recorded(run_of)))
            connections.close_all()

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
            bar.update(task, completed=min(total, _recorded(run_of)))


def _recorded(run_of: Sequence[int]) -> int:
    if not run_of:
        return 0
    sums = RunPart.objects.filter(run_id=run_of[0]).aggregate(**{name: Sum(name) for name in DONE})
    return sum(value or 0 for value in sums.values())


def table(results: Sequence[PassResult]) -> Table:
    shown = Table(title="What was sent to HubSpot", title_justify="left")
    for name in ("object", "pass"):
        shown.add_column(name)
    for name in (*OUTCOMES, "API calls", "seconds", "records/s"):
        shown.add_column(name, justify="right")
    for one in results:
        calls = one.write_calls + one.read_calls
        rate = f"{one.records / one.seconds:,.0f}" if one.seconds else "—"
        shown.add_row(
            one.object,
            str(one.number or "plan"),
            *(f"{getattr(one, name):,}" for name in OUTCOMES),
            f"{calls:,} ({one.write_calls:,} writing)",
            f"{one.seconds:.1f}",
            rate,
        )
    return shown
