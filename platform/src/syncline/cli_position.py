"""The commands of `syncline position`."""

from __future__ import annotations

import click

from syncline.cli_base import told


@click.group()
def position() -> None:
    """How far the pulls of a sync came, which may be moved while it rests."""


_partition = click.option("--partition", help="Of a log such as a topic: only this partition of it.")


@position.command("get")
@click.argument("sync")
@_partition
def position_get(sync: str, partition: str | None) -> None:
    """Tells how far the pulls of SYNC (id or name) came."""
    with told():
        from rich.console import Console

        from syncline import planning, positions

        positions.show(planning.sync_named(sync), Console(), partition)


@position.command("set")
@click.argument("sync")
@click.argument("to")
@_partition
def position_set(sync: str, to: str, partition: str | None) -> None:
    """The next pull of SYNC asks for what changed since TO, a moment such as 2026-11-26 or "2026-11-26 17:30", UTC.

    Of a log, TO is the position of the next message to be taken in, e.g. its offset.
    """
    with told():
        from rich.console import Console

        from syncline import planning, positions

        positions.move(planning.sync_named(sync), to, Console(), partition)


@position.command("reset")
@click.argument("sync")
@_partition
def position_reset(sync: str, partition: str | None) -> None:
    """The next pull of SYNC lists everything; of a log, it begins with the oldest message there is."""
    with told():
        from rich.console import Console

        from syncline import planning, positions

        positions.move(planning.sync_named(sync), None, Console(), partition)
