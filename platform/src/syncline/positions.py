"""What `syncline position` does: how far the pulls of a sync came, told and moved."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from syncline.contract import ConfigError
from syncline.runs.pull import moving
from syncline.runs.stream import moving as logs
from syncline.syncs.models import Sync


def show(sync: Sync, console: Console, partition: str | None = None) -> None:
    if not _is_log(sync, partition):
        _say(sync, moving.told(sync), console)
        return
    chosen = [one for one in logs.places(sync) if partition in (None, one.partition)]
    for one in chosen:
        _say(sync, str(one), console)
    if not chosen:
        _say(sync, "nothing was taken in yet; it begins with the oldest message.", console)


def move(sync: Sync, to: str | None, console: Console, partition: str | None = None) -> None:
    """`to`: a moment as a person writes it, or the position in a log; None for the beginning."""
    if _is_log(sync, partition):
        said = logs.move(sync, to, partition)
    else:
        said = moving.move(sync, None if to is None else moving.moment(to))
    _say(sync, said, console)


def _is_log(sync: Sync, partition: str | None) -> bool:
    found = logs.is_log(sync)
    if partition is not None and not found:
        raise ConfigError(f"{sync.object_type} is no log, so that it has no partitions. Leave --partition out.")
    return found


def _say(sync: Sync, sentence: str, console: Console) -> None:
    console.print(f"{escape(sync.name)}: {escape(sentence)}", highlight=False, soft_wrap=True)
