"""The Django app `syncline`: one app, one migrations folder, whatever the number of connectors."""

from __future__ import annotations

from collections.abc import Callable

from django.apps import AppConfig

from syncline.contract import AppSpec, Dataset, hookimpl


class SynclineConfig(AppConfig, AppSpec):
    name = "syncline"
    label = "syncline"
    verbose_name = "Syncline"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connects signals and registers checks; plugins are loaded when first asked for, not here."""
        from syncline import background, pgloaders
        from syncline.background import checks as background_checks
        from syncline.connections import checks as vault_checks
        from syncline.outbox import checks as outbox_checks
        from syncline.registry import checks
        from syncline.runs import tick

        pgloaders.install()
        background.hide_admin()
        background_checks.register_checks()
        checks.register_checks()
        vault_checks.install(self)
        outbox_checks.install(self)
        tick.install()

    @hookimpl
    def register_datasets(self, register: Callable[[Dataset], None]) -> None:
        from syncline.inbox.log import InboxLog

        register(InboxLog())
