"""`syncline worker` with a push that is cut into small pieces, and a clock that rings often."""

from __future__ import annotations

import sys

from syncline import cli
from syncline.cli_base import set_up_django

BATCH, ASSOCIATIONS, CHUNK, TICK = 20, 40, 200, 2.0
_carry_out = cli._carry_out


def small_batches() -> None:
    """Before the catalog is read: the sizes are part of what a connector says of its objects."""
    from syncline.contract import Op
    from syncline_hubspot import objects

    for op in objects.BATCH_SIZES:
        objects.BATCH_SIZES[op] = ASSOCIATIONS if op is Op.ASSOCIATE else BATCH


def carry_out(name: str, restarts: int) -> int:
    set_up_django()
    from syncline.background import every
    from syncline.runs import tick
    from syncline.runs.push import reader, results

    small_batches()
    every(TICK, tick.TICK)
    reader.chunks.__kwdefaults__["size"] = CHUNK  # type: ignore[index]
    results.UNKNOWN_RETRY = 1.0
    return _carry_out(name, restarts)


if __name__ == "__main__":
    cli._carry_out = carry_out
    sys.argv[1:] = ["worker"]
    cli.main()
