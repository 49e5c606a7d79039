"""The one address of vendors. Without session, log-in and CSRF token: who signs with the secret is let in."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from django.views.decorators.csrf import csrf_exempt

from syncline.contract import SynclineError
from syncline.contract.connector import Capability
from syncline.contract.webhooks import Answer, WebhookRequest
from syncline.registry import registry

from . import addresses, intake
from .addresses import Place

CHUNK: Final = 65_536
MOST_DISCARDED: Final = 16 * 1024 * 1024
ASKING: Final = frozenset({"GET", "HEAD"})

log = logging.getLogger("syncline.inbox")


class _TooLarge(Exception):
    pass


class _Unreadable(Exception):
    """The request broke off, or does not say how long it is."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered by {status}")
        self.status = status


@csrf_exempt
def receive(request: HttpRequest, slug: str) -> HttpResponse:
    answered = _received(request, slug)
    # Django would log what is refused, with the address: half a secret, and where nothing is verified all of it
    answered._has_been_logged = True  # type: ignore[attr-defined]
    return answered


def _received(request: HttpRequest, slug: str) -> HttpResponse:
    try:
        place = addresses.find(slug)
    except (Error, SynclineError) as error:  # the database is away, or the key ring is not the right one
        return failed(slug, error)
    if place is None:
        return HttpResponse(status=404)
    if not _allowed(place, request):
        return HttpResponse(status=405)
    return _taken(place, request)


def _allowed(place: Place, request: HttpRequest) -> bool:
    """GET and HEAD are for challenges, which only a connector can answer."""
    if request.method in ASKING:
        found = registry().connectors.get(place.connector)
        return found is not None and Capability.ACKNOWLEDGE in found.implements
    return request.method in intake.KEEPING


def _taken(place: Place, request: HttpRequest) -> HttpResponse:
    try:
        body = read_body(request, settings.SYNCLINE_INBOX_BODY)
    except _Unreadable as error:
        return HttpResponse(status=error.status)
    except _TooLarge:
        return _answered(place, request, None)
    return _answered(place, request, body)


def _answered(place: Place, request: HttpRequest, body: bytes | None) -> HttpResponse:
    """`body`: None when it was too large to be read."""
    asked = _webhook(request, body or b"")
    try:
        return _response(intake.too_large(place, asked) if body is None else intake.take(place, asked))
    except Error as error:
        failed(str(place.address_id), error)
        return _response(intake.failed(place, asked))


def failed(where: str, error: Exception) -> HttpResponse:
    log.warning("A delivery to the webhook address %s could not be stored (%s).", where[:6], type(error).__name__)
    return HttpResponse(status=503)


def _webhook(request: HttpRequest, body: bytes) -> WebhookRequest:
    return WebhookRequest(
        method=request.method or "",
        url=full_address(request),
        headers=dict(_headers(request.META)),
        body=body,
        received_at=dt.datetime.now(dt.UTC),
    )


def _headers(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").lower(), value
        elif name in HttpHeaders.UNPREFIXED_HEADERS:
            yield name.replace("_", "-").lower(), value


def full_address(request: HttpRequest) -> str:
    """As the vendor called it: what stands before this host, such as a proxy, may have changed what we see of it."""
    query = request.META.get("QUERY_STRING", "")
    path = f"{request.path_info}?{query}" if query else request.path_info
    if settings.SYNCLINE_PUBLIC_URL:
        return f"{settings.SYNCLINE_PUBLIC_URL}{path}"
    return f"{request.scheme}://{request.get_host()}{request.META.get('SCRIPT_NAME', '')}{path}"


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in answer.headers.items():
        response[name] = value
    return response


def read_body(request: HttpRequest, most: int) -> bytes:
    """At most `most` bytes in memory, whatever the request says of its length."""
    stream, length = _stream(request)
    if length is not None and length > most:
        _discard(stream, length)
        raise _TooLarge
    body = bytearray()
    try:
        while part := stream.read(min(CHUNK, most + 1 - len(body))):
            body += part
            if len(body) > most:
                _discard(stream, MOST_DISCARDED)
                raise _TooLarge
    except (OSError, ValueError) as error:  # cut off, or chunks that are none
        raise _Unreadable(400) from error
    if length is not None and len(body) < length:
        raise _Unreadable(400)
    return bytes(body)


def _stream(request: HttpRequest) -> tuple[IO[bytes] | Any, int | None]:
    """Chunks come without a length: Django would take them for an empty body."""
    given: Mapping[str, Any] = request.META
    if "chunked" in given.get("HTTP_TRANSFER_ENCODING", "").lower():
        if not given.get("wsgi.input_terminated"):
            raise _Unreadable(411)  # this server would not say where the body ends
        return given["wsgi.input"], None
    try:
        return request, int(given.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise _Unreadable(400) from None


def _discard(stream: Any, length: int) -> None:
    """So that the vendor, still sending, hears our answer instead of a broken line."""
    left = min(length, MOST_DISCARDED)
    try:
        while left > 0 and (part := stream.read(min(CHUNK, left))):
            left -= len(part)
    except (OSError, ValueError):
        return
