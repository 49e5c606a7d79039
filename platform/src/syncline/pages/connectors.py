"""The connectors page: what is installed, whether it works, and the switch."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from syncline.connections import installed
from syncline.connections.models import ConnectorState
from syncline.contract import CONTRACT_VERSION, SynclineError

from .base import StockAdmin, is_staff, person

CHANGE = "syncline.change_connectorstate"


@admin.register(ConnectorState)
class ConnectorAdmin(StockAdmin):
    def get_urls(self) -> list[URLPattern]:
        name = "syncline_connectorstate_do"
        return [path("<slug:key>/do/<slug:name>/", self.admin_site.admin_view(self.do), name=name), *super().get_urls()]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # the switch is a button of the list

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Connectors",
            "connectors": installed.listing(person(request)),
            "contract": CONTRACT_VERSION,
            "may_switch": request.user.has_perm(CHANGE),
        }
        return TemplateResponse(request, "syncline/connectors.html", context)

    def do(self, request: HttpRequest, key: str, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm(CHANGE) or name not in {"enable", "disable"}:
            raise PermissionDenied
        try:
            state = installed.switch(key, name == "enable")
        except SynclineError as error:
            messages.error(request, str(error))
        else:
            sentence = f"The connector {key} is switched {'on' if state.enabled else 'off'}."
            self.log_change(request, state, sentence)
            messages.success(request, sentence)
        return HttpResponseRedirect(reverse("admin:syncline_connectorstate_changelist"))
