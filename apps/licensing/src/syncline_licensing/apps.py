"""The Django app `licensing`, which is also the plugin whose hooks the host reads."""

from __future__ import annotations

from django.apps import AppConfig
from syncline.contract import AppSpec


class LicensingConfig(AppConfig, AppSpec):
    name = "syncline_licensing"
    label = "licensing"
    verbose_name = "Licensing"
    default_auto_field = "django.db.models.BigAutoField"
