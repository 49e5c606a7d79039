"""Where vendors deliver, mounted at the root: addresses are registered with vendors and must not move."""

from __future__ import annotations

from typing import Final

from django.urls import re_path

from . import views

# with and without the last slash: a redirect would cost the delivery
PATH: Final = r"^hooks/(?P<slug>[A-Za-z0-9_-]{1,100})/?\Z"

urlpatterns = [re_path(PATH, views.receive, name="webhook")]
