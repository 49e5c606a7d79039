"""Addresses of the OAuth sign-in, mounted at the root: redirect URIs are registered with vendors and must not move."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "oauth"
urlpatterns = [
    path("oauth/start/<int:connection_id>/", views.start, name="start"),
    path("oauth/callback/", views.callback, name="callback"),
]
