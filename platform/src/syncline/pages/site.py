"""The admin site: our name, our order of pages, and the overview as its front page."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template.response import TemplateResponse

#: What a person looks for, in this order.
ORDER: Final = (
    *("Connection", "Sync", "Run", "Link", "Arrival", "Conflict", "ErrorGroup", "DeadLetter"),
    *("InboxEvent", "Outgoing", "Delivery"),
    *("ObjectSnapshot", "Registration", "WebhookAddress", "ConnectorState", "ApiKey"),
)
NAMES: Final = {"Link": "Ledger", "ObjectSnapshot": "Catalog", "Arrival": "Review list", "InboxEvent": "Inbox"}


class SynclineSite(AdminSite):
    site_header = "Syncline"
    site_title = "Syncline"
    index_title = "Overview"
    index_template = "syncline/home.html"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found: list[Any] = super().get_app_list(request, app_label)
        for app in found:
            if app["app_label"] == "syncline":
                app["models"].sort(key=lambda model: ORDER.index(model["object_name"]))
                for model in app["models"]:
                    model["name"] = NAMES.get(model["object_name"], model["name"])
        return sorted(found, key=lambda app: app["app_label"] != "syncline")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from .home import overview

        return super().index(request, {**(extra_context or {}), "home": overview(cast(User, request.user))})
