"""The Django app `licensing`, which is also the plugin whose hooks the host reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from syncline.contract import AppSpec, Dataset, hookimpl


class LicensingConfig(AppConfig, AppSpec):
    name = "syncline_licensing"
    label = "licensing"
    verbose_name = "Licensing"
    default_auto_field = "django.db.models.BigAutoField"

    @hookimpl
    def register_datasets(self, register: Callable[[Dataset], None]) -> None:
        from .datasets import DATASETS

        for dataset in DATASETS:
            register(dataset)

    @hookimpl
    def api_root_routes(self) -> Sequence[object]:
        from .api import urlpatterns

        return urlpatterns

    def ready(self) -> None:
        post_migrate.connect(_settle, sender=self)


def _settle(using: str, **_told: object) -> None:
    """Every installation and every restore ends with `migrate`; which may also have taken the tables away."""
    from .changes import settle
    from .models import LicenseChange

    if LicenseChange._meta.db_table in connections[using].introspection.table_names():
        settle()
