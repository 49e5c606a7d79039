"""Runs the sandbox as a process of its own: `python -m syncline_salesforce.sandbox --port 0`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys

import uvicorn

from .app import create_app
from .oauth import CLIENT, SECRET, USER
from .pubsub import PubSub
from .server import Server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="syncline_salesforce.sandbox", description="A local Salesforce for trying and testing.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process does")
    return parser.parse_args()


async def _served(web: uvicorn.Server, account: Server, listener: socket.socket, parent: int | None) -> None:
    bus, port = await PubSub(account).started()
    _tell(account, listener, port)
    await _web(web, listener, parent)
    await bus.stop(0.2)


def _tell(account: Server, listener: socket.socket, port: int) -> None:
    told = {
        "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
        "pubsub_url": f"127.0.0.1:{port}",
        "token": account.token,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "username": USER,
        "private_key": account.tokens.private_key(),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def _web(server: uvicorn.Server, listener: socket.socket, parent: int | None) -> None:
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
    server, listener = Server(), _listener(given.port)
    # asyncio leaves Nagle's algorithm on for such a socket: every answer would wait 40 ms for the client's acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    settings = uvicorn.Config(
        create_app(server),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=65_536,
    )
    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
        runner.run(_served(uvicorn.Server(settings), server, listener, parent))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
