"""The workers that were heard of lately, on whatever machine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.db import connection


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


def listed() -> list[Worker]:
    with connection.cursor() as cursor:
        cursor.execute(_LIST, [2 * float(settings.SYNCLINE_STALL_SECONDS)])
        return [Worker(*row) for row in cursor.fetchall()]
