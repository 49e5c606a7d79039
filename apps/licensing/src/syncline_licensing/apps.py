"""The Django app `licensing`, which is also the plugin whose hooks the host reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.apps import AppConfig
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
