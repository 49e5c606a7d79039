"""Registrations: the vendor apps through which connections sign in. They hold client secrets, so Django's permissions decide."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncline.connections import oauth
from syncline.connections.models import Registration

from .base import StockAdmin
from .settings_form import RegistrationForm, usable_connectors


def choose_connector(page: StockAdmin, request: HttpRequest, what: str) -> HttpResponse:
    """The first step of adding something that belongs to a connector."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": f"Add {what}: choose the connector",
        "choices": [(one.title, f"?connector={one.key}", f"version {one.version}") for one in usable_connectors()],
        "nothing": "No connector is loaded and switched on.",
    }
    return TemplateResponse(request, "syncline/choose.html", context)


def asked_connector(request: HttpRequest, obj: Any) -> str:
    return str(obj.connector) if obj else request.GET.get("connector", "")


@admin.register(Registration)
class RegistrationAdmin(StockAdmin):
    form = RegistrationForm
    list_display = ["name", "connector", "client_id", "created"]
    list_filter = ["connector"]
    search_fields = ["name", "client_id"]
    fields = ["name", "client_id", "client_secret", "redirect_uri"]
    change_form_template = "admin/syncline/registration/change_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("client_secret")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if self.has_add_permission(request) and asked_connector(request, None) not in {c.key for c in usable_connectors()}:
            return choose_connector(self, request, "registration")
        return super().add_view(request, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        bound = type("BoundForm", (RegistrationForm,), {"connector_key": asked_connector(request, obj)})
        return super().get_form(request, obj, change=change, **{**kwargs, "form": bound})

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        obj = kwargs.get("obj")
        context["redirect_uri"] = oauth.redirect_uri(obj or Registration())
        return super().render_change_form(request, context, *args, **kwargs)
