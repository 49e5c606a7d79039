"""What commands share: Django is loaded only by those that need it, and what stops one is told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click


def set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    import django

    django.setup()


class Commands(click.Group):
    """Says in a sentence that there is no database, whichever command found out."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if said := _unreachable(error):
                raise click.ClickException(said) from error
            raise


def _unreachable(error: Exception) -> str:
    from django.db import OperationalError, connection

    if not isinstance(error, OperationalError) or connection.connection is not None:
        return ""
    said = str(error).splitlines()[0]
    return (
        f"The database cannot be reached ({said}). Set DATABASE_URL; or put `syncline db run --` before the command, in the "
        "folder of the checkout, to use its local database."
    )


@contextmanager
def told() -> Iterator[None]:
    """A command that works with the database; what stops it is told in a sentence."""
    set_up_django()
    from syncline.connections import startup
    from syncline.contract import SynclineError

    try:
        startup.begin()
        yield
    except SynclineError as error:
        raise click.ClickException(str(error)) from error
