"""The WSGI entry: `gunicorn syncline_host.wsgi`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")

application = get_wsgi_application()

from syncline.connections import startup  # noqa: E402 - needs the apps

startup.begin()
