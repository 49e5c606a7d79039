"""A sandbox as a process of its own, from both sides: what runs in it, and what starts it for tests, demos and benchmarks.

It needs neither pytest nor Django.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import uvicorn

ENDS_WITHIN = 5.0
LOOKS_EVERY = 0.25


class SandboxProcess:
    """`with SandboxProcess("syncline_acme.sandbox", "--limits", "off") as sandbox:` runs `python -m syncline_acme.sandbox …`.

    `url` and `token` are what it printed. It ends with the block, or with its parent: the module is started with `--with-parent`.
    RuntimeError when it ended before it printed its line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, "--with-parent", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self.token = ""

    def opened(self, ready: Mapping[str, Any]) -> None:
        """Keeps what the sandbox told on its line of JSON; a subclass may keep more."""
        self.url, self.token = ready["url"], ready.get("token", "")

    def closed(self) -> None:
        """For a subclass: lets go of what `opened` made. Also called when it was not."""

    def start(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            code = self._process.wait(ENDS_WITHIN)
            self.stop()
            name = " ".join(self._command[1:3])
            raise RuntimeError(
                f"The sandbox `python {name}` ended with code {code} before it listened; its message stands above."
            )
        self.opened(json.loads(line))
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        self.closed()
        if process is None:
            return
        end(process)
        if process.stdout:
            process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks it to end, and ends it when it does not within five seconds."""
    process.terminate()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def add_options(parser: ArgumentParser) -> None:
    """`--port`, which the host gives to every sandbox, and `--with-parent`, which SandboxProcess does."""
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process does")


@asynccontextmanager
async def _nothing() -> AsyncIterator[Mapping[str, str]]:
    yield {}


def listen(port: int) -> socket.socket:
    """A socket on loopback for `serve`; 0 takes a free port. SystemExit with a sentence when the port is taken."""
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise SystemExit(f"The sandbox cannot listen on port {port}: {error.strerror}. Take --port 0 for a free one.") from error
    # asyncio leaves Nagle's algorithm on for such a socket: every answer would wait 40 ms for the client's acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(
    app: Any,
    listener: socket.socket,
    told: Mapping[str, str],
    *,
    with_parent: bool = False,
    beside: Callable[[], AbstractAsyncContextManager[Mapping[str, str]]] = _nothing,
    **options: Any,
) -> None:
    """Prints the line of JSON, its `url` and what else is `told`, then serves an ASGI app until the process is asked to end.

    `beside`: opens what else serves in the same loop, such as another protocol, and gives what is to be told of it.
    `options`: of uvicorn, over those that suit a sandbox.
    """
    import uvicorn

    parent = os.getppid() if with_parent else None
    line = {"url": f"http://127.0.0.1:{listener.getsockname()[1]}", **told}
    usual = {"log_level": "warning", "access_log": False, "lifespan": "off", "timeout_graceful_shutdown": 1}
    settings = uvicorn.Config(app, **{**usual, **options})
    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
        runner.run(_opened(uvicorn.Server(settings), listener, parent, line, beside))


async def _opened(
    server: uvicorn.Server,
    listener: socket.socket,
    parent: int | None,
    line: Mapping[str, str],
    beside: Callable[[], AbstractAsyncContextManager[Mapping[str, str]]],
) -> None:
    async with beside() as more:
        sys.stdout.write(json.dumps({**line, **more}) + "\n")
        sys.stdout.flush()
        await _served(server, listener, parent)


async def _served(server: uvicorn.Server, listener: socket.socket, parent: int | None) -> None:
    watch = asyncio.create_task(_watch(server, parent)) if parent else None
    await server.serve(sockets=[listener])
    if watch:
        watch.cancel()


async def _watch(server: uvicorn.Server, parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(LOOKS_EVERY)
    server.should_exit = True
