"""An empty ledger and a register of a given size: where every benchmark starts."""

from __future__ import annotations

from django.apps import apps
from django.core.management import call_command
from django.db import connection


def fill(companies: int) -> None:
    empty()
    call_command("populate_database", companies=companies, clear=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def empty(*more: str) -> None:
    """Nothing is left of the benchmark before, users of connections included. `more`: labels of further apps."""
    labels = ("syncline", "companies", *more)
    tables = [m._meta.db_table for label in labels for m in apps.get_app_config(label).get_models()] + ["auth_user"]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
