"""A web server as in production, with the signed vendor's connector and bare views beside it: `gunicorn tests.inbound.web`.

A bare view does what nobody could do without: it inserts the body into one table and answers. /bare/ is one as anybody would
write it; /bare-first/ has all that makes deliveries quick: before the middlewares, prepared, without a health check.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "platform" / "tests"))

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from syncline.inbox import prepared

INSERT = "INSERT INTO bare_delivery (body) VALUES (%(body)s) RETURNING id"


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {"body": request.body})
    return HttpResponse(status=204)


def bare_first(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        if request.path_info != "/bare-first/":
            return get_response(request)
        prepared.row(INSERT, {"body": request.body})
        return HttpResponse(status=204)

    return answer


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
settings.MIDDLEWARE.insert(1, f"{__name__}.bare_first")
application: WSGIHandler = get_wsgi_application()

from hooking import vendor  # noqa: E402 - after the apps
from syncline import registry  # noqa: E402
from syncline.registry import Registry  # noqa: E402

_installed = registry.using(Registry(vendor.entries()))
_installed.__enter__()

from syncline_host import urls  # noqa: E402

urls.urlpatterns.append(path("bare/", bare))
