"""The table of `syncline connectors`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from syncline.registry import Registry


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
