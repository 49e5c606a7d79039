"""The ASGI application: HTTP on one side, the Server on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import Request

from .endpoints import build
from .server import Cut, Server
from .tokens import Grant
from .wire import ApiError, Call, Reply, correlation_id, not_found_html

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from .router import Endpoint

_NOBODY = Grant("", 0, frozenset())
_LOOPBACK = ("127.0.0.1", "::1", "testclient")


class SandboxApp:
    """Handlers neither wait nor run in threads, so the store needs no locks: one event loop, one call at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._router = build()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = Request(scope, receive)
        raw = await request.body()
        try:
            await _send(send, await self._answered(request, raw))
        except Cut as cut:
            await _cut(receive, send, partial=cut.partial)

    async def _answered(self, request: Request, raw: bytes) -> Reply:
        found = self._router.find(request.method, request.scope["path"])
        if found is None:
            return not_found_html().reply
        endpoint, args = found
        try:
            call = self._call(request, endpoint, args, raw)
        except ApiError as refused:
            self.server.counters.count(endpoint.kind, refused.reply.status)
            refused.reply.headers["X-HubSpot-Correlation-Id"] = correlation_id()
            return refused.reply
        if endpoint.kind == "admin":
            return self._administered(request, endpoint, call)
        return await self.server.answer(endpoint, call)

    def _call(self, request: Request, endpoint: Endpoint, args: dict[str, str], raw: bytes) -> Call:
        headers = request.headers
        grant = _NOBODY
        if endpoint.scopes is not None:
            grant = self.server.tokens.authenticate(headers.get("authorization", ""))
        portal = self.server.portal(grant.portal_id) if grant.portal_id else self.server.portal()
        query = dict(parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True))
        base = f"http://{headers.get('host', '127.0.0.1')}"
        path = request.scope["path"]
        return Call(self.server, portal, grant, request.method, base, path, endpoint.family, args, query, raw)

    def _administered(self, request: Request, endpoint: Endpoint, call: Call) -> Reply:
        if request.client is None or request.client.host not in _LOOPBACK:
            return Reply(403, {"message": "The admin API of the sandbox answers this machine only."})
        try:
            return endpoint.handler(call)
        except ApiError as refused:
            return refused.reply


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send(send: Send, reply: Reply) -> None:
    content = reply.content()
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    if reply.status != 204:
        headers.append((b"content-length", str(len(content)).encode()))
        headers.append((b"content-type", reply.media_type.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _cut(receive: Receive, send: Send, *, partial: bool) -> None:
    """Ends the connection under the client's hands: with half an answer, or without a byte.

    uvicorn offers no way to do that, so its transport is taken from behind the bound `receive` (true of both its HTTP parsers).
    """
    if partial:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status":"COMPLETE","resu', "more_body": True})
    receive.__self__.transport.abort()  # type: ignore[attr-defined]


def create_app(server: Server | None = None) -> SandboxApp:
    return SandboxApp(server or Server())
