"""System check: what datasets say they depend on must be there.

syncline.E020  a dataset names a table or a column that no installed model has
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from . import watch


def dependencies(**_options: Any) -> list[checks.CheckMessage]:
    """By the models, without the database: it runs before a migration too."""
    columns = {
        model._meta.db_table: frozenset(str(field.column) for field in model._meta.concrete_fields)
        for model in apps.get_models(include_auto_created=True)
    }
    try:
        declared = list(watch.declared())
    except ImproperlyConfigured:  # syncline.E001 says so
        return []
    return [
        checks.Error(
            f"The dataset {key} depends on something that is not there. {reason}",
            hint="Correct its depends_on: names are those of the database, such as company_id.",
            id="syncline.E020",
        )
        for key, dependency in declared
        if (reason := watch.missing(dependency, columns))
    ]


def install(config: Any) -> None:
    """The check, and a look at the triggers after each migration: a table may have been made anew."""
    from django.db.models.signals import post_migrate

    checks.register(dependencies, "syncline")
    post_migrate.connect(_after_migration, sender=config, dispatch_uid="syncline.outbox")


def _after_migration(using: str = "default", **_options: Any) -> None:
    if using == "default":
        watch.reconcile()
