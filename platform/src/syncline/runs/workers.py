"""The workers and stream processes that were heard of lately, on whatever machine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from .stream.claiming import BEAT, SILENT_FOR


@dataclass(frozen=True, slots=True)
class Worker:
    """`silent`: its supervisor should have started it anew by now, so that one is gone too, or its machine."""

    cluster: str
    host: str
    pid: int
    since: dt.datetime
    beat: dt.datetime
    quiet_s: float
    restarts: int
    silent: bool


_LIST = """
SELECT cluster, host, pid, started_at, beat_at, extract(epoch FROM now() - beat_at)::float8, restarts,
       now() - beat_at > make_interval(secs => %s)
FROM syncline_workercanary ORDER BY host, started_at, cluster
"""


@dataclass(frozen=True, slots=True)
class StreamProcess:
    """A process of `syncline stream`; `parts`: how many continuous parts it carries out. `silent`: it is gone."""

    name: str
    host: str
    pid: int
    since: dt.datetime
    beat: dt.datetime
    quiet_s: float
    silent: bool
    parts: int


_STREAMS = """
SELECT w.name, w.host, w.pid, w.started_at, w.beat_at, extract(epoch FROM now() - w.beat_at)::float8,
       now() - w.beat_at > make_interval(secs => %s),
       (SELECT count(*) FROM syncline_runpart p WHERE p.owner = w.name AND p.state = 'leased' AND p.lease_until >= now())
FROM syncline_streamworker w ORDER BY w.host, w.started_at, w.name
"""


def stream_processes() -> list[StreamProcess]:
    with connection.cursor() as cursor:
        cursor.execute(_STREAMS, [SILENT_FOR * BEAT])
        return [StreamProcess(*row) for row in cursor.fetchall()]


def listed() -> list[Worker]:
    with connection.cursor() as cursor:
        cursor.execute(_LIST, [2 * float(settings.SYNCLINE_STALL_SECONDS)])
        return [Worker(*row) for row in cursor.fetchall()]
