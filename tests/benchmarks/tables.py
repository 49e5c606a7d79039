"""The tables that benchmarks of messages begin with."""

from __future__ import annotations

from django.apps import apps
from django.db import connection

from tests.benchmarks.register import empty


def empty_all() -> None:
    empty()
    tables = [m._meta.db_table for m in apps.get_app_config("licensing").get_models()]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
