"""The way of deliveries, before sessions, log-in, tokens and policies for browsers, which they need none of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from . import views
from .intake import KEEPING
from .urls import PATH

_PATH: Final = re.compile(PATH)
#: An answer is the connector's; no browser is to take it for a page of ours.
_ANSWER: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}


class DeliveriesFirst:
    """A middleware for the first place. Questions of browsers (GET) and what is to be sent on to https go the way of all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        found = _PATH.match(request.path_info[1:]) if request.method in KEEPING else None
        if found is None or (settings.SECURE_SSL_REDIRECT and not request.is_secure()):
            return self.get_response(request)
        answered = views.receive(request, found["slug"])
        for name, value in _ANSWER.items():
            answered.headers.setdefault(name, value)
        return answered
