"""Addresses of the host's own pages, outside the admin."""

from __future__ import annotations

from django.urls import path

from . import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
]
