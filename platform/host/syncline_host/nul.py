"""Questions with a NUL in them: no text here has one, so nothing is found, and nothing has failed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest


class NulIsNoQuestion:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Where nobody looked before PostgreSQL did, which takes none."""
        asked = request.path_info + unquote(request.META.get("QUERY_STRING", ""))
        if isinstance(error, DataError | ValueError) and "\0" in asked:
            return HttpResponseBadRequest("The address holds a NUL character. Remove it.", content_type="text/plain")
        return None
