"""The table of `syncline drift`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q
from rich.console import Console
from rich.table import Table

from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange
from syncline.contract import ConfigError, SynclineError
from syncline.syncs import drift
from syncline.syncs.drift import Finding
from syncline.syncs.models import Sync


def chosen(asked: str) -> list[Sync]:
    """The sync with this number or name, all of them for "". ConfigError when there is none, or several of the name."""
    rows = Sync.objects.select_related("connection", "connection__owner", "current").order_by("name", "pk")
    if not asked:
        return list(rows)
    found = list(rows.filter(Q(pk=int(asked)) if asked.isdecimal() else Q(name=asked)))
    if len(found) != 1:
        known = ", ".join(f"{pk} ({name})" for pk, name in rows.values_list("pk", "name")) or "none"
        what = "There is no sync" if not found else "There are several syncs"
        raise ConfigError(f"{what} {asked!r}. Give one of these numbers: {known}.")
    return found


def refresh(syncs: Sequence[Sync], console: Console) -> bool:
    """Asks each account what it offers now; says of those that cannot be asked why. False when there were some."""
    failed = False
    for connection in {one.connection_id: one.connection for one in syncs}.values():
        try:
            catalog.refresh(connection)
        except SynclineError as error:
            failed = True
            console.print(f"{connection.name} could not be asked: {error}", markup=False, highlight=False)
    return not failed


def show(syncs: Sequence[Sync], console: Console, *, everything: bool = False) -> int:
    """Gives how many open changes touch mappings."""
    findings = [found for one in syncs for found in drift.of_sync(one)]
    if findings:
        console.print(_table(findings))
        for one in findings:
            console.print(f"\n{one.sync}, {one.target}: {_sentences(one)}", markup=False, highlight=False)
    else:
        console.print("Nothing changed that a published mapping writes.")
    if everything:
        _show_others(drift.others(findings, syncs), console)
    return len(findings)


def _sentences(one: Finding) -> str:
    return " ".join(part for part in (one.sentence, one.effect, one.remedy) if part)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("sync", "field", "what changed", "since (UTC)", "meanwhile", box=None, header_style="bold")
    for one in findings:
        since = f"{one.since:%Y-%m-%d %H:%M}" if one.since else "–"
        state = (
            "[red]stopped[/red]" if one.stops else "[yellow]suspended[/yellow]" if one.aspect != "choices" else "in some records"
        )
        table.add_row(str(one.sync), one.target, one.label, since, state)
    return table


def _show_others(rows: Sequence[CatalogChange], console: Console) -> None:
    console.print()
    if not rows:
        console.print("Nothing else changed in these accounts.")
        return
    table = Table("connection", "object", "property", "what changed", "since (UTC)", box=None, header_style="bold")
    for row in rows:
        table.add_row(
            row.connection.name,
            row.object_type,
            row.property or "–",
            row.get_aspect_display(),
            f"{row.noticed_at:%Y-%m-%d %H:%M}",
        )
    console.print("Changed, but written by no published mapping:")
    console.print(table)
