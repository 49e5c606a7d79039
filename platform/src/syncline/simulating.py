"""Runs what a connector's sandbox ships to act as the vendor's customers; its arguments are the command's options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, get_args, get_origin, get_type_hints

import click

from syncline.contract import UnsupportedFeature
from syncline.registry import Registry

KINDS = (str, int, float, bool)


def simulation(registry: Registry, key: str) -> Callable[..., None]:
    found = registry.connector(key)
    simulate = found.call.sandbox().simulate if "sandbox" in found.implements else None
    if simulate is None:
        raise UnsupportedFeature(
            f"The connector {key} has no simulator. `syncline sandbox {key}` runs its server, if it has one."
        )
    return simulate


def run(registry: Registry, key: str, arguments: Sequence[str]) -> None:
    """SynclineError of the simulation, click's own errors for options that are none."""
    simulate = simulation(registry, key)
    command = click.Command(key, params=options(simulate), callback=simulate, help=inspect.getdoc(simulate))
    command.main(list(arguments), prog_name=f"syncline simulate {key}", standalone_mode=False)


def options(simulate: Callable[..., None]) -> list[click.Parameter]:
    """One for each argument: its name, type and default, and the text of its Annotated."""
    hints = get_type_hints(simulate, include_extras=True)
    return [_option(one, hints[one.name]) for one in inspect.signature(simulate).parameters.values()]


def _option(argument: inspect.Parameter, hint: object) -> click.Option:
    kind, text = hint, ""
    if get_origin(hint) is Annotated:
        kind, text = get_args(hint)[:2]
    if kind not in KINDS:
        raise TypeError(f"{argument.name}: a simulator's arguments are str, int, float or bool, not {kind}.")
    return click.Option(
        [f"--{argument.name.replace('_', '-')}", argument.name],
        type=kind,
        is_flag=kind is bool,
        default=None if argument.default is argument.empty else argument.default,
        required=argument.default is argument.empty,
        show_default=True,
        help=text,
    )
