"""A web server as in production, with the signed vendor's connector and a bare view beside it: `gunicorn tests.inbound.web`.

The bare view does what nobody could do without: it inserts the body into one table and answers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "platform" / "tests"))

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
application: WSGIHandler = get_wsgi_application()

from hooking import vendor  # noqa: E402 - after the apps
from syncline import registry  # noqa: E402
from syncline.registry import Registry  # noqa: E402

_installed = registry.using(Registry(vendor.entries()))
_installed.__enter__()

from syncline_host import urls  # noqa: E402


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare_delivery (body) VALUES (%s)", [request.body])
    return HttpResponse(status=204)


urls.urlpatterns.append(path("bare/", bare))
