"""Where vendors deliver, mounted at the root: addresses are registered with vendors and must not move."""

from __future__ import annotations

from django.urls import re_path

from . import views

urlpatterns = [
    # with and without the last slash: a redirect would cost the delivery
    re_path(r"^hooks/(?P<slug>[A-Za-z0-9_-]{1,100})/?$", views.receive, name="webhook"),
]
