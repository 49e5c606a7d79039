"""API keys: shown once, when they are made; later only by their public part."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncline.connections import api_keys
from syncline.connections.api_keys import ApiKey

from .base import StockAdmin, person


@admin.register(ApiKey)
class ApiKeyPage(StockAdmin):
    list_display = ["label", "shown_prefix", "user", "read_only", "state", "expires", "last_used"]
    list_filter = ["read_only", ("revoked", admin.EmptyFieldListFilter)]
    list_select_related = ["user"]
    search_fields = ["label", "prefix", "user__username"]
    search_help_text = "Label, public part or user"
    autocomplete_fields = ["user"]
    fields = ["label", "user", "read_only", "expires"]
    actions = ["revoke"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(pk__in=api_keys.manageable(person(request)).values("pk")).defer("digest")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ["label", "user", "read_only", "expires"]
        if obj is None and not person(request).is_superuser:
            shown.remove("user")
        return shown if obj is None else [*shown, "shown_prefix", "state", "created", "last_used"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoked ones stay, so that people can see what there was

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not person(request).is_superuser:
            obj.user = cast(User, request.user)
        obj.shown_once = api_keys.issue(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The answer itself shows the key: it is in no session, no cookie and no second answer."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"The key of {obj.label}",
            "key": obj.shown_once,
            "original": obj,
        }
        return TemplateResponse(request, "admin/syncline/apikey/made.html", context)

    @admin.action(description="Revoke the chosen keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys.filter(revoked=None):
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"{api_keys.revoke(keys)} revoked: from now on they are refused.")

    @admin.display(description="key")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"{api_keys.MARK}_{key.prefix}_…"

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return "revoked" if key.revoked else "in use" if key.holds else "expired"
