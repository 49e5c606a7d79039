"""The catalog: objects of each connection and their properties, as last discovered. Read-only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncline.catalog import codec, overview
from syncline.catalog.models import ObjectSnapshot
from syncline.contract import Property

from . import drift
from .base import ConnectionAdmin
from .filters import ConnectionFilter


@admin.register(ObjectSnapshot)
class CatalogPage(ConnectionAdmin):
    list_title = "Catalog: what the connected accounts offer"
    list_display = ["title", "key", "over", "properties_here", "discovered_at", "gone_at"]
    list_select_related = ["connection"]
    list_filter = [ConnectionFilter]
    search_fields = ["title", "key"]
    ordering = ["connection__name", "title"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return overview.counted(super().get_queryset(request)).defer("connection__credentials", "content")

    @admin.display(description="connection", ordering="connection__name")
    def over(self, obj: ObjectSnapshot) -> str:
        return obj.connection.name

    @admin.display(description="properties", ordering="properties")
    def properties_here(self, obj: Any) -> int:
        return int(obj.properties)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        snapshot = self.found(request, object_id)
        object_type, asked = codec.from_json(snapshot.content), request.GET.get("q", "").strip()
        context = self.page(
            request,
            title=f"{snapshot.title} of {snapshot.connection.name}",
            snapshot=snapshot,
            object_type=object_type,
            q=asked,
            properties=list(fitting(object_type.properties, asked)),
            history=drift.history(snapshot),
        )
        return TemplateResponse(request, "admin/syncline/objectsnapshot/page.html", context)


def fitting(properties: Iterable[Property], asked: str) -> Iterable[Property]:
    """Those in whose name, label or group the text occurs."""
    wanted = asked.lower()
    return (one for one in properties if wanted in f"{one.name}\n{one.label}\n{one.group}".lower())
