"""The Starlette application: HTTP on one side, the Server on the other. Handlers do not wait: no call sees another half done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import admin, bulk, oauth, rest
from .refusals import ApiError, RecordRefused
from .server import Call, Server

API = "/services/data/{version}"
Handler = Callable[[Call], Any]
Endpoint = Callable[[Request], Awaitable[Response]]
ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/sobjects", rest.sobjects),
    ("GET", "/sobjects/{kind}/describe", rest.describe),
    ("GET", "/limits", rest.limits),
    ("GET", "/limits/recordCount", rest.record_count),
    ("POST", "/composite/batch", rest.batch),
    ("POST", "/composite/sobjects", rest.create),
    ("PATCH", "/composite/sobjects", rest.update),
    ("DELETE", "/composite/sobjects", rest.delete),
    ("POST", "/composite/sobjects/{kind}", rest.retrieve),
    ("PATCH", "/composite/sobjects/{kind}/{field}", rest.upsert),
    ("POST", "/jobs/ingest", bulk.make),
    ("GET", "/jobs/ingest", bulk.listed),
    ("GET", "/jobs/ingest/{job}", bulk.show),
    ("PATCH", "/jobs/ingest/{job}", bulk.change),
    ("PUT", "/jobs/ingest/{job}/batches", bulk.upload),
    ("GET", "/jobs/ingest/{job}/{results}", bulk.results),
    ("GET", "/{verb}", rest.query),
    ("GET", "/query/{locator}", rest.query_more),
)


def create_app(server: Server) -> Starlette:
    routes = [Route(API + path, _api(server, handler), methods=[method]) for method, path, handler in ENDPOINTS]
    routes += [Route(f"/_sandbox/{name}", _plain(server, handler), methods=["POST"]) for name, handler in admin.ROUTES.items()]
    routes += [
        Route("/services/oauth2/authorize", _plain(server, oauth.authorize), methods=["GET"]),
        Route("/services/oauth2/token", _plain(server, oauth.token), methods=["POST"]),
        Route("/services/oauth2/revoke", _plain(server, oauth.revoke), methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _api(server: Server, handler: Handler) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        call = await _call(server, request)
        server.calls.append(f"{call.method} {request.url.path.removeprefix(call.prefix)}")
        try:
            _let_in(call)
            answered = _answer(handler(call))
        except ApiError as refused:
            answered = _json(refused.body, refused.status)
        except RecordRefused as refused:
            answered = _json([{"errorCode": refused.error["statusCode"], "message": str(refused)}], 400)
        server.bus.commit(call.headers.get("sforce-call-options", "").removeprefix("client="))
        answered.headers["Sforce-Limit-Info"] = f"api-usage={server.used}/{server.daily}"
        return answered

    return endpoint


def _let_in(call: Call) -> None:
    server, proof = call.server, call.headers.get("authorization", "").removeprefix("Bearer ")
    if proof not in server.tokens.access:
        raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if server.used >= server.daily:
        raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    server.used += 1
    server.clients.add(call.headers.get("sforce-call-options", ""))


def _plain(server: Server, handler: Handler) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            told = handler(await _call(server, request))
            return _answer(await told if isawaitable(told) else told)
        except oauth.Refused as refused:
            return _json(refused.body, 400)
        except (ApiError, RecordRefused, KeyError, ValueError) as refused:
            return _json({"message": str(refused)}, 400)
        finally:
            server.bus.commit("")

    return endpoint


async def _call(server: Server, request: Request) -> Call:
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    prefix = f"/services/data/{request.path_params.get('version', '')}"
    headers, raw = dict(request.headers), await request.body()
    return Call(
        server,
        request.method,
        str(request.base_url).rstrip("/"),
        prefix,
        address,
        request.path_params,
        dict(request.query_params),
        headers,
        raw,
    )


def _answer(told: Any) -> Response:
    if told is None:
        return Response(status_code=201)
    if isinstance(told, str):
        return RedirectResponse(told, 302) if told.startswith("http") else Response(told, media_type="text/csv")
    return _json(told, 200)


def _json(told: Any, status: int) -> Response:
    return Response(orjson.dumps(told), status, media_type="application/json")
