"""The host as in production with a bare view beside it: `gunicorn tests.benchmarks.licensing_web`.

The bare view does what nobody could do without: it asks one row of an index and answers JSON. It asks nobody who he is.
"""

from __future__ import annotations

import os

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

ASK = """
SELECT l.active, l.since
FROM licensing_license l JOIN licensing_customer c ON c.id = l.customer_id JOIN licensing_sku s ON s.id = l.sku_id
WHERE c.salesforce_id = %s AND s.code = %s
"""


def bare(request: HttpRequest) -> JsonResponse:
    with connection.cursor() as cursor:
        cursor.execute(ASK, [request.GET["customer"], request.GET["sku"]])
        active, since = cursor.fetchone()
    return JsonResponse({"entitled": active, "since": since})


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
application: WSGIHandler = get_wsgi_application()

from syncline_host import urls  # noqa: E402

urls.urlpatterns.append(path("bare/", bare))
