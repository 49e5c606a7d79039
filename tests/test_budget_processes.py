"""Six processes on one budget, one of them killed: never above the limit, alike shares, and nobody waits for the dead."""

from __future__ import annotations

import os
import time
import uuid

import pytest
from syncline.connections.own_connections import OwnConnections

from tests.benchmarks.hammer import Hammering, most_in, result, start

SIZE, WINDOW, SECONDS = 120, 2.0, 5.0
PROCESSES = 6


@pytest.mark.django_db
def test_six_processes_keep_to_one_limit_and_share_it(database_url: str) -> None:
    scope = f"hammer:{uuid.uuid4().hex}"
    environment = {**os.environ, "DATABASE_URL": database_url}
    one = Hammering(scope, size=SIZE, window=WINDOW, seconds=SECONDS)
    *running, victim = start([one] * (PROCESSES + 1), environment)
    try:
        time.sleep(1.5)
        victim.kill()
        times = [result(process)["times"] for process in running]
    finally:
        for process in (*running, victim):
            process.kill()
            process.communicate()
        _forget(scope)
    together = [at for own in times for at in own]
    assert most_in(together, WINDOW) <= SIZE
    assert len(together) >= 0.5 * SIZE * SECONDS / WINDOW  # the victim had its share at first
    shares = [len(own) for own in times]
    assert max(shares) - min(shares) <= 0.2 * sum(shares) / PROCESSES, shares


def _forget(scope: str) -> None:
    ours = "(SELECT id FROM syncline_budget WHERE scope = %s)"
    with OwnConnections().one() as own:
        own.execute(f"DELETE FROM syncline_budgetuse WHERE budget_id IN {ours}", [scope])
        own.execute("DELETE FROM syncline_budget WHERE scope = %s", [scope])
