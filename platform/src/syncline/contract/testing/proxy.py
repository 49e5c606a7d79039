"""A proxy between the connector and the server: it plays faults, so that no sandbox has to, and counts what passes."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"})
FRESH = 0.5
"""Seconds after which a server is not trusted to have kept a connection open."""
NO_BODY = frozenset({204, 304})
HTML = b"<html><body><h1>Scheduled maintenance</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to requests while it is set.

    `status`, `headers`, `body`: an answer instead of the server's. `cut`: the connection ends without an answer.
    `stall`: no answer comes. `forward`: the server gets the request all the same, before that. `writes`: reads pass.
    `edit`: the server's answer comes, with its JSON turned into what this gives. `once`: only the first request is struck.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    stall: bool = False
    forward: bool = False
    writes: bool = False
    edit: Callable[[Any], Any] | None = None
    once: bool = False


def answer(status: int, body: Any = None, *, writes: bool = False, forward: bool = False, **headers: str) -> Fault:
    """An answer with a JSON body; `Retry_After="2"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = json.dumps(body).encode()
    return Fault(status=status, headers={"Content-Type": "application/json", **named}, body=raw, writes=writes, forward=forward)


def html(*, writes: bool = False) -> Fault:
    return Fault(status=200, headers={"Content-Type": "text/html"}, body=HTML, writes=writes, forward=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that arrived. `write`: not a read, by its method and the target's `reads`."""

    method: str
    path: str
    body: bytes
    write: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def _edited(reply: _Answer, edit: Callable[[Any], Any]) -> _Answer:
    return replace(reply, body=json.dumps(edit(json.loads(reply.body))).encode())


class FaultProxy:
    """Listens on loopback, forwards to `upstream`. Header values in `swap` are replaced on the way: the connector never
    holds real credentials, only canaries that are easy to look for."""

    def __init__(self, upstream: str, swap: Mapping[tuple[str, str], str], reads: str) -> None:
        self.upstream = urlsplit(upstream)
        self.swap = swap
        self.seen: list[Seen] = []
        self.fault: Fault | None = None
        self.released = threading.Event()
        self._reads = re.compile(reads) if reads else None
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def writes(self) -> int:
        return sum(seen.write for seen in self.seen)

    @contextmanager
    def playing(self, fault: Fault) -> Iterator[None]:
        """The fault strikes inside the block; the requests seen are counted from its start."""
        self.seen.clear()
        self.released.clear()
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None
            self.released.set()

    def is_write(self, method: str, path: str) -> bool:
        if method in {"GET", "HEAD", "OPTIONS"}:
            return False
        return self._reads is None or not self._reads.search(path.partition("?")[0])

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what several checks are about, not news for standard error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, else each answer waits for a delayed acknowledgement
    disable_nagle_algorithm = True
    server: _Listener
    _kept: http.client.HTTPConnection | None = None
    _used = 0.0

    def handle_any(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(self.command, self.path, body, proxy.is_write(self.command, self.path))
        proxy.seen.append(seen)
        fault = proxy.fault
        if fault is None or (fault.writes and not seen.write):
            self._send(self._forward(seen))
            return
        if fault.once:
            proxy.fault = None
        self._play(fault, seen)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815 - names given by http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _play(self, fault: Fault, seen: Seen) -> None:
        if fault.edit:
            self._send(_edited(self._forward(seen, plain=True), fault.edit))
            return
        if fault.forward:
            self._forward(seen)
        if fault.stall:
            self.server.proxy.released.wait()
        if fault.cut or fault.stall:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(_Answer(fault.status, fault.headers, fault.body))

    def _forward(self, seen: Seen, *, plain: bool = False) -> _Answer:
        upstream = self._upstream()
        try:
            upstream.request(
                seen.method, self.server.proxy.upstream.path + seen.path, seen.body or None, self._outgoing(plain=plain)
            )
            reply = upstream.getresponse()
            return _Answer(reply.status, dict(reply.getheaders()), reply.read())
        except OSError as error:
            upstream.close()
            return _Answer(502, {}, f"The server behind the proxy failed: {error}".encode())
        finally:
            self._used = time.monotonic()

    def _upstream(self) -> http.client.HTTPConnection:
        """One connection for the requests of one client, but none that the server may have closed meanwhile."""
        if self._kept is None:
            address = self.server.proxy.upstream
            self._kept = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        elif time.monotonic() - self._used > FRESH:
            self._kept.close()  # it opens again by itself
        return self._kept

    def finish(self) -> None:
        super().finish()
        if self._kept:
            self._kept.close()

    def _outgoing(self, *, plain: bool) -> dict[str, str]:
        """`plain`: the answer is to come uncompressed."""
        swap, left_out = self.server.proxy.swap, HOP_BY_HOP | ({"accept-encoding"} if plain else set())
        kept = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        return {name: swap.get((name.lower(), value), value) for name, value in kept.items()}

    def _send(self, reply: _Answer) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if reply.status not in NO_BODY:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD" and reply.status not in NO_BODY:
            self.wfile.write(reply.body)
        self.wfile.flush()
