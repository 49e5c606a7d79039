"""The tables of `syncline connectors` and `syncline workers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from syncline.registry import Registry

if TYPE_CHECKING:
    from syncline.runs.workers import StreamProcess, Worker


def show(registry: Registry, console: Console) -> None:
    table = Table("key", "title", "package", "version", "state", box=None, header_style="bold")
    for key, connector in registry.connectors.items():
        table.add_row(key, connector.title, connector.distribution, connector.version, "loaded")
    for one in registry.broken:
        table.add_row(one.key, "", one.distribution, one.version, "[red]broken[/red]")
    if table.row_count:
        console.print(table)
    else:
        console.print("No connector is installed. Try: pip install ./plugins/hubspot")
    for one in registry.broken:
        console.print(f"\n{one.key}: {one.reason}\n  {one.next_step}", markup=False, highlight=False)


def show_workers(workers: Sequence[Worker], console: Console) -> None:
    if not workers:
        console.print("No worker was heard of during the last day. Start one with: syncline worker")
        return
    table = Table("host", "process", "since", "last sign of life", "restarts", "state", box=None, header_style="bold")
    for one in workers:
        state = "[red]silent[/red]" if one.silent else "works"
        since = one.since.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(one.host, str(one.pid), since, f"{one.quiet_s:.0f} s ago", str(one.restarts), state)
    console.print(table)


def show_streams(processes: Sequence[StreamProcess], console: Console, *, wanted: bool) -> None:
    """`wanted`: there are continuous syncs, so that none is worth a word."""
    if not processes:
        if wanted:
            console.print("\nNo stream process is running, so continuous syncs stand still. Start one with: syncline stream")
        return
    table = Table("host", "process", "since", "last sign of life", "parts", "state", box=None, header_style="bold")
    for one in processes:
        state = "[red]silent[/red]" if one.silent else "streams"
        since = one.since.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(one.host, str(one.pid), since, f"{one.quiet_s:.0f} s ago", str(one.parts), state)
    console.print(table)
