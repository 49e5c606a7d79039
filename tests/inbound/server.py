"""Starts that web server, and sends to it what the signed vendor would."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path += [path for path in (str(ROOT / "platform" / "tests"),) if path not in sys.path]

from hooking.vendor import sign  # noqa: E402


@dataclass
class Web:
    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deliver(self, slug: str, events: Any, caller: http.client.HTTPConnection | None = None) -> int:
        """The status; 0 when there was no answer."""
        body, path = json.dumps(events).encode(), f"/hooks/{slug}/"
        return post(caller or self.caller(), path, body, {"X-Signature": sign(body, self.url + path)})

    def caller(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)


def post(caller: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        caller.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = caller.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        caller.close()
        return 0


@contextmanager
def serving(*options: str, database_url: str = "", module: str = "tests.inbound.web") -> Iterator[Web]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        port = listener.getsockname()[1]
        argv = [sys.executable, "-m", "gunicorn", module, "--bind", f"fd://{listener.fileno()}"]
        environment = {**os.environ, "SYNCLINE_PUBLIC_URL": f"http://127.0.0.1:{port}", "SYNCLINE_LOG_LEVEL": "ERROR"}
        if database_url:
            environment["DATABASE_URL"] = database_url
        process = subprocess.Popen(
            [*argv, "--log-level", "error", *options], cwd=ROOT, env=environment, pass_fds=(listener.fileno(),)
        )
        try:
            yield _ready(Web(process, port))
        finally:
            process.terminate()
            process.wait(20)


def _ready(web: Web) -> Web:
    until = time.monotonic() + 60
    while time.monotonic() < until and web.process.poll() is None:
        caller = web.caller()
        try:
            caller.request("GET", "/healthz")
            if caller.getresponse().status == 200:
                return web
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            caller.close()
    raise RuntimeError("The web server did not start.")


def workers(web: Web) -> Sequence[int]:
    import psutil

    return [one.pid for one in psutil.Process(web.process.pid).children()]
