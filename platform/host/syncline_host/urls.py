"""Addresses of the host."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView
from syncline.registry import registry

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/token/", TokenObtainPairView.as_view(), name="token"),
    path("api/v1/token/refresh/", TokenRefreshView.as_view(), name="token-refresh"),
    path("api/v1/", include("syncline.api.urls")),
    *(path(f"api/v1/{label}/", include(list(routes))) for label, routes in registry().api_routes.items()),
    *(path("api/v1/", include(list(routes))) for routes in registry().api_root_routes.values()),
    path("", include("syncline.connections.urls")),
    path("", include("syncline.inbox.urls")),
    path("", include("syncline.pages.urls")),
]
