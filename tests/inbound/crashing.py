"""The host's own web server, with places around a delivery where it may die: `gunicorn tests.inbound.crashing`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")

from syncline.runs import crash
from syncline_host.wsgi import application as host

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

INTAKE_POINTS: Final = ("intake.before", "intake.after")
"""Before anything is done about a delivery, and when it is stored and nobody has been told yet."""


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if not environ["PATH_INFO"].startswith(("/hooks/", "/salesforce/")):
        return host(environ, start_response)
    crash.point("intake.before")
    answer = host(environ, start_response)
    crash.point("intake.after")
    return answer
