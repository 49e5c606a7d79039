"""How bells are handed out: taken from the table for good, by one statement, by one cluster.

Django-Q2's own broker keeps a bell locked until the monitor process confirms its result, and hands it out again when
none did: after a kill of the monitor every task is repeated, and bells of killed workers stay for the whole of `retry`.
A bell needs none of that: the clock rings again.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import Error, connections
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from . import canary

logger = logging.getLogger("syncline.background")

PAUSE = 1.0  # seconds between two tries while PostgreSQL does not answer

_TAKE = """
WITH taken AS MATERIALIZED (
    SELECT id FROM django_q_ormq WHERE key IN (%s, %s) ORDER BY key = %s, id FOR UPDATE SKIP LOCKED LIMIT %s
)
DELETE FROM django_q_ormq q USING taken WHERE q.id = taken.id RETURNING q.id, q.payload
"""


class Bell(ORM):  # type: ignore[misc]
    """Bells for all clusters, and those for this one, which its canary rings."""

    def dequeue(self) -> list[tuple[int, str]]:
        try:
            taken = self._take()
        except Error as error:
            logger.warning("No bell can be heard (%s); trying again.", type(error).__name__)
            connections[Conf.ORM].close()
            time.sleep(PAUSE)
            return []
        if not taken:
            time.sleep(Conf.POLL)
        return taken

    def _take(self) -> list[tuple[int, str]]:
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(_TAKE, [self.list_key, canary.key(), self.list_key, Conf.BULK])
            return list(cursor.fetchall())

    def acknowledge(self, task_id: Any) -> None:
        """It is gone already."""

    def fail(self, task_id: Any) -> None:
        """It is gone already."""
