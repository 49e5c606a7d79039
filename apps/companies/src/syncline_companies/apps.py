"""The Django app `companies`, which is also the plugin whose hooks the host reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.apps import AppConfig
from syncline.contract import AppSpec, Dataset, hookimpl


class CompaniesConfig(AppConfig, AppSpec):
    name = "syncline_companies"
    label = "companies"
    verbose_name = "Companies"
    default_auto_field = "django.db.models.BigAutoField"

    @hookimpl
    def register_datasets(self, register: Callable[[Dataset], None]) -> None:
        from .datasets import DATASETS

        for dataset in DATASETS:
            register(dataset)

    @hookimpl
    def api_routes(self) -> Sequence[object]:
        from .api import urlpatterns

        return urlpatterns
