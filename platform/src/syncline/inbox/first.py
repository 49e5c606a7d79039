"""The way of deliveries, before sessions, log-in, tokens and policies for browsers, which they need none of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse

from . import addresses, views
from .addresses import PATH_ALIAS
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
        if settings.SECURE_SSL_REDIRECT and not request.is_secure():
            return self.get_response(request)
        found = _PATH.match(request.path_info[1:])
        if found is None:
            return self._of_path(request)
        return _delivered(request, found["slug"]) if request.method in KEEPING else self.get_response(request)

    def _of_path(self, request: HttpRequest) -> HttpResponse:
        """An alias may be a whole path, also for questions; but a page of the host is always the host's."""
        alias = request.path_info.strip("/")
        if not PATH_ALIAS.fullmatch(alias) or request.method not in KEEPING | views.ASKING:
            return self.get_response(request)
        try:
            known = alias in addresses.paths()
        except Error as error:
            lost = request.method in KEEPING and not addresses.is_host_path(alias)
            return views.failed(alias, error) if lost else self.get_response(request)
        return _delivered(request, alias) if known and not addresses.is_host_path(alias) else self.get_response(request)


def _delivered(request: HttpRequest, slug: str) -> HttpResponse:
    answered = views.receive(request, slug)
    for name, value in _ANSWER.items():
        answered.headers.setdefault(name, value)
    return answered
