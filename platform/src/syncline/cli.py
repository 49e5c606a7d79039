"""The `syncline` command. Parses only; each command's work is done by a module of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from syncline.cli_base import Commands, set_up_django, told
from syncline.cli_position import position


def state_dir() -> Path:
    return Path(os.environ.get("SYNCLINE_STATE") or ".syncline").resolve()


@click.group(cls=Commands)
def main() -> None:
    """Syncline: an integration platform whose connectors are plugins."""


@main.group()
def db() -> None:
    """The local PostgreSQL of this checkout."""


@db.command("run", context_settings={"ignore_unknown_options": True})
@click.option("--name", default="syncline", show_default=True, help="Database to create and use.")
@click.option("--fresh", is_flag=True, help="Start with an empty database.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def db_run(name: str, fresh: bool, command: tuple[str, ...]) -> None:
    """Runs COMMAND with DATABASE_URL set, holding the local server meanwhile. A DATABASE_URL that is set already wins."""
    from syncline.localdb import LocalDatabaseError, run

    try:
        sys.exit(run(state_dir(), list(command), name=name, fresh=fresh))
    except (LocalDatabaseError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option(
    "--fail-level",
    type=click.Choice(["broken", "never"]),
    default="never",
    show_default=True,
    help="Exit with 1 when a connector is broken, or never.",
)
def connectors(fail_level: str) -> None:
    """Lists the installed connectors, and why some of them do not work."""
    from rich.console import Console

    from syncline import listing
    from syncline.registry import registry

    listing.show(registry(), Console())
    if fail_level == "broken" and registry().broken:
        sys.exit(1)


@main.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="Where it listens, as gunicorn takes it.")
def web(bind: str) -> None:
    """Serves pages, the API and webhook addresses until it is stopped with ^C or SIGTERM."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    from syncline import webserver as server

    server.become(bind)


@main.command()
def worker() -> None:
    """Starts due syncs and works on runs until it is stopped with ^C or SIGTERM."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    from django.conf import settings
    from django.utils.log import configure_logging

    from syncline.background import canary
    from syncline.supervisor import Supervisor

    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    grace = float(settings.SYNCLINE_STOP_SECONDS)
    sys.exit(Supervisor(_carry_out, stall=canary.stall_seconds(), grace=grace).run())


def _carry_out(name: str, restarts: int) -> int:
    """In the process that becomes the worker's cluster; the supervisor itself loads no apps."""
    set_up_django()
    from django.db import ProgrammingError

    from syncline.background.cluster import run_cluster
    from syncline.connections import startup
    from syncline.contract import ConfigError

    try:
        startup.begin()
        return run_cluster(name, restarts)
    except ConfigError as error:
        click.ClickException(str(error)).show()
    except ProgrammingError as error:
        said = str(error).splitlines()[0]
        click.ClickException(f"The database does not fit this version ({said}). Run: syncline manage migrate").show()
    return 1


@main.command()
def stream() -> None:
    """Keeps continuous syncs going until it is stopped with ^C or SIGTERM. Any number of these share the work."""
    set_up_django()
    from syncline.connections import startup
    from syncline.contract import ConfigError
    from syncline.runs.stream.process import Stream

    try:
        startup.begin()
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(Stream().run())


@main.command()
@click.argument("process", type=click.Choice(["web", "worker", "stream"]))
@click.option("--port", default=8000, show_default=True, help="Where the web process listens.")
def health(process: str, port: int) -> None:
    """Ends with 0 while PROCESS on this machine does its work, else says what is missing and ends with 1."""
    set_up_django()
    from syncline import healthy

    try:
        healthy.check(process, port)
    except healthy.Unhealthy as error:
        raise click.ClickException(str(error)) from error


@main.command()
def workers() -> None:
    """Lists the workers and stream processes of all machines, and when each gave its last sign of life."""
    set_up_django()
    from rich.console import Console

    from syncline import listing
    from syncline.runs import workers
    from syncline.syncs.models import Sync

    listing.show_workers(workers.listed(), Console())
    wanted = Sync.objects.filter(continuous=True, enabled=True).exists()
    listing.show_streams(workers.stream_processes(), Console(), wanted=wanted)


@main.command()
@click.argument("sync")
@click.option("--rows", default=10, show_default=True, help="How many records to show field by field.")
def plan(sync: str, rows: int) -> None:
    """Finds out what a push of SYNC (id or name) would do, and shows it. Writes nothing."""
    with told():
        from rich.console import Console

        from syncline import planning

        sys.exit(planning.plan(planning.sync_named(sync), Console(), rows))


@main.command()
@click.argument("plan", type=int)
@click.option("--yes", is_flag=True, help="Do not ask first.")
def apply(plan: int, yes: bool) -> None:
    """Writes exactly what PLAN (its number) says, where the records are still as they were.

    Ends with 3 when some were not written, because they changed since or were refused.
    """
    with told():
        from rich.console import Console

        from syncline import planning

        found = planning.plan_numbered(plan)
        question = planning.question(found)
        if yes or click.confirm(question):
            sys.exit(planning.apply(found, Console()))


main.add_command(position)


@main.command()
@click.argument("sync", default="")
@click.option("--all", "everything", is_flag=True, help="Also what changed in the accounts that no mapping writes.")
@click.option("--refresh", is_flag=True, help="Ask the accounts first what they offer now.")
@click.option(
    "--fail-level",
    type=click.Choice(["open", "never"]),
    default="never",
    show_default=True,
    help="Exit with 1 when a change touches a mapping, or never.",
)
def drift(sync: str, everything: bool, refresh: bool, fail_level: str) -> None:
    """Lists what changed in the accounts that published mappings write: of SYNC (its number or name), or of all syncs."""
    set_up_django()
    from rich.console import Console

    from syncline import drifts
    from syncline.contract import ConfigError

    console = Console()
    try:
        syncs = drifts.chosen(sync)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    asked = not refresh or drifts.refresh(syncs, console)
    found = drifts.show(syncs, console, everything=everything)
    if not asked or (found and fail_level == "open"):
        sys.exit(1)


@main.group()
def inbox() -> None:
    """What vendors delivered by themselves."""


def _choice(command: Callable[..., None]) -> Callable[..., None]:
    """Options that choose events of the inbox."""
    moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
    for option in (
        click.option("--until", type=moment, help="Received before this moment, UTC."),
        click.option("--since", type=moment, help="Received at this moment, UTC, or later."),
        click.option("--kind", default="", help="What happened: created, changed, deleted …"),
        click.option("--connection", type=int, help="The number of a connection."),
        click.option("--state", default="", help="dead, unroutable, unknown, ignored, done; or unreadable, for deliveries."),
        click.option("--delivery", type=int, help="The number of one delivery."),
    ):
        command = option(command)
    return command


@inbox.command("list")
@_choice
@click.option("--rows", default=50, show_default=True, help="How many to show, the newest first.")
def inbox_list(rows: int, **choice: Any) -> None:
    """Lists events, and deliveries that could not be read."""
    with told():
        from rich.console import Console

        from syncline import inboxes

        inboxes.show(inboxes.chosen(**choice), Console(), rows)


@inbox.command("replay")
@_choice
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
def inbox_replay(dry_run: bool, **choice: Any) -> None:
    """Reads stored deliveries again and makes new events of them; asks no vendor. At least one option chooses which."""
    with told():
        from rich.console import Console

        from syncline import inboxes

        inboxes.replay(inboxes.chosen(**choice), Console(), dry_run=dry_run)


@main.command()
@click.argument("key")
@click.option("--port", default=0, show_default="a free one", help="Port on 127.0.0.1.")
def sandbox(key: str, port: int) -> None:
    """Runs the local server with which the connector KEY is tried out; it prints its address."""
    from syncline import sandboxes
    from syncline.contract import SynclineError
    from syncline.registry import registry

    try:
        sandboxes.become(registry(), key, port)
    except SynclineError as error:
        raise click.ClickException(str(error)) from error


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("key")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def simulate(key: str, options: tuple[str, ...]) -> None:
    """Acts as the customers of the connector KEY's vendor; `syncline simulate KEY --help` tells its options."""
    from syncline import simulating
    from syncline.contract import SynclineError
    from syncline.registry import registry

    try:
        simulating.run(registry(), key, options)
    except SynclineError as error:
        raise click.ClickException(str(error)) from error


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def manage(arguments: tuple[str, ...]) -> None:
    """Django's own commands: `syncline manage migrate`, `syncline manage createsuperuser` …"""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["syncline manage", *arguments])


if __name__ == "__main__":
    main()
