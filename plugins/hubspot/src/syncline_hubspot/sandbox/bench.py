"""What the sandbox alone can do: `python -m syncline_hubspot.sandbox.bench` prints batch calls per second, one JSON line.

Clients are raw sockets in processes of their own that send one prepared request again and again, so they cost little.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from .process import RunningSandbox

CONNECTIONS = 4
RECORDS = 100
COMPANY = {
    "name": "Bench Ltd",
    "domain": "bench.example",
    "website": "https://bench.example",
    "city": "Leeds",
    "country": "United Kingdom",
    "industry": "COMPUTER_SOFTWARE",
    "numberofemployees": "120",
    "annualrevenue": "1200000.50",
    "description": "A company that exists for a benchmark and has a description of ordinary length to be read and kept. " * 2,
    "founded_year": "1999",
    "phone": "+44 113 496 0000",
    "is_public": "false",
}


def _request(url: str, token: str, path: str, body: object) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    parts, missing = [body], length - len(body)
    while missing > 0:
        parts.append(_more(connection))
        missing -= len(parts[-1])
    if not head.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"The sandbox answered {head.splitlines()[0]!r}: {b''.join(parts)[:300]!r}")
    return b"".join(parts)


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 18)
    if not received:
        raise RuntimeError("The sandbox closed the connection.")
    return received


def _hammer(port: int, request: bytes, seconds: float, done: multiprocessing.Queue[int]) -> None:
    calls, end = 0, time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while time.monotonic() < end:
            _exchange(connection, request)
            calls += 1
    done.put(calls)


def _measure(sandbox: RunningSandbox, path: str, body: object, seconds: float) -> dict[str, float]:
    request = _request(sandbox.url, sandbox.token, path, body)
    port = urlsplit(sandbox.url).port or 0
    done: multiprocessing.Queue[int] = multiprocessing.Queue()
    before, started = sandbox.admin.cpu_s(), time.monotonic()
    clients = [multiprocessing.Process(target=_hammer, args=(port, request, seconds, done)) for _ in range(CONNECTIONS)]
    for client in clients:
        client.start()
    calls = sum(done.get() for _ in clients)
    for client in clients:
        client.join()
    cpu, wall = sandbox.admin.cpu_s() - before, time.monotonic() - started
    return {
        "calls_per_s": round(calls / wall),
        "calls_per_s_core": round(calls / cpu),
        "ms_cpu_per_call": round(cpu / calls * 1000, 3),
    }


def _bodies(sandbox: RunningSandbox) -> dict[str, Callable[[], tuple[str, object]]]:
    prefix = "/crm/v3/objects/companies/batch"
    ids = sandbox.admin.seed("companies", [COMPANY] * RECORDS)
    changed = [{"id": each, "properties": COMPANY} for each in ids]
    return {
        "batch_create": lambda: (f"{prefix}/create", {"inputs": [{"properties": COMPANY}] * RECORDS}),
        "batch_update": lambda: (f"{prefix}/update", {"inputs": changed}),
        "batch_read": lambda: (f"{prefix}/read", {"properties": list(COMPANY), "inputs": [{"id": each} for each in ids]}),
    }


def run(seconds: float = 2.0) -> dict[str, object]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        figures = {name: _measure(sandbox, *make(), seconds) for name, make in _bodies(sandbox).items()}
    return {"bench": "sandbox", "records_per_call": RECORDS, "connections": CONNECTIONS, **figures}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)) + "\n")
