"""Whether one of our processes on this machine does its work: for the health checks of containers."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
from typing import Final

from django.conf import settings
from django.db.models.functions import Now

from syncline.background import canary
from syncline.runs.models import StreamWorker, WorkerCanary

PROCESSES: Final = ("web", "worker", "stream")


class Unhealthy(Exception):
    """The process gives no sign of life."""


def check(process: str, port: int = 8000) -> None:
    """Raises Unhealthy, which says what was looked for."""
    {"web": lambda: _web(port), "worker": _worker, "stream": _stream}[process]()


def _web(port: int) -> None:
    """As a proxy in front of it asks."""
    host = (settings.ALLOWED_HOSTS or ["localhost"])[0]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/healthz", headers={"Host": host, "X-Forwarded-Proto": "https"})
        status = connection.getresponse().status
    except OSError as error:
        raise Unhealthy(f"Nobody answers on port {port} ({type(error).__name__}).") from error
    finally:
        connection.close()
    if status != 200:
        raise Unhealthy(f"/healthz answered {status}.")


def _worker() -> None:
    since = Now() - dt.timedelta(seconds=canary.stall_seconds())
    if not WorkerCanary.objects.filter(host=socket.gethostname(), beat_at__gte=since).exists():
        raise Unhealthy(f"No worker on {socket.gethostname()} gave a sign of life within {canary.stall_seconds():.0f} s.")


def _stream() -> None:
    host = socket.gethostname()[:60]
    if not StreamWorker.objects.filter(host=host, beat_at__gte=Now() - dt.timedelta(seconds=10)).exists():
        raise Unhealthy(f"No stream process on {host} gave a sign of life within 10 s.")
