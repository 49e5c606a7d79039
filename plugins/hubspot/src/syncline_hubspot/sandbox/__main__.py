"""Runs the sandbox as a process of its own: `python -m syncline_hubspot.sandbox --port 0`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import socket
import sys
from pathlib import Path

import uvicorn

from .app import create_app
from .config import Config
from .server import OAuthApp, Server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="syncline_hubspot.sandbox", description="A local HubSpot for trying and testing.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port once it is open")
    parser.add_argument("--limits", choices=("on", "off"), default="on", help="HubSpot's rate limits")
    parser.add_argument("--index-lag", type=float, default=Config().index_lag_s, help="seconds until search sees a write")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every call")
    parser.add_argument("--client-id", default=OAuthApp().client_id)
    parser.add_argument("--client-secret", default=OAuthApp().client_secret)
    parser.add_argument("--redirect-uri", action="append", default=[], help="may be repeated; none: any loopback address")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process does")
    return parser.parse_args()


def _server(given: argparse.Namespace) -> Server:
    config = Config(limits=given.limits == "on", index_lag_s=given.index_lag, latency_ms=given.latency_ms)
    return Server(config, OAuthApp(given.client_id, given.client_secret, tuple(given.redirect_uri)))


def _serve(app_server: Server, listener: socket.socket, parent: int | None) -> None:
    app = create_app(app_server)
    settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
        runner.run(_served(uvicorn.Server(settings), listener, parent))


async def _served(server: uvicorn.Server, listener: socket.socket, parent: int | None) -> None:
    watch = asyncio.create_task(_watch(server, parent)) if parent else None
    await server.serve(sockets=[listener])
    if watch:
        watch.cancel()


async def _watch(server: uvicorn.Server, parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(0.25)
    server.should_exit = True


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise SystemExit(f"The sandbox cannot listen on port {port}: {error.strerror}. Take --port 0 for a free one.") from error


def main() -> int:
    given = _arguments()
    parent = os.getppid() if given.with_parent else None
    server = _server(given)
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)  # records are never part of a cycle; looking for some cost a third of the time
    listener = _listener(given.port)
    # asyncio leaves Nagle's algorithm on for such a socket: every answer would wait 40 ms for the client's acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listener.getsockname()[1]
    if given.port_file:
        given.port_file.write_text(str(port))
    told = {
        "url": f"http://127.0.0.1:{port}",
        "token": server.token,
        "client_id": given.client_id,
        "client_secret": given.client_secret,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    _serve(server, listener, parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
