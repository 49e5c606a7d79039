"""What `syncline position` does: how far the pulls of a sync came, told and moved."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from syncline.runs.pull import moving
from syncline.syncs.models import Sync


def show(sync: Sync, console: Console) -> None:
    console.print(f"{escape(sync.name)}: {moving.told(sync)}", highlight=False, soft_wrap=True)


def move(sync: Sync, to: str | None, console: Console) -> None:
    """`to`: a moment as a person writes it, None for the beginning."""
    said = moving.move(sync, None if to is None else moving.moment(to))
    console.print(f"{escape(sync.name)}: {said}", highlight=False, soft_wrap=True)
