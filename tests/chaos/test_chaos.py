"""The short form of `make chaos`: what must hold does not depend on how often something is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(460)]
ROOT = Path(__file__).parents[2]
SHORT = {"CHAOS_KILLS": "15", "CHAOS_RESTARTS": "1", "CHAOS_COMPANIES": "400", "CHAOS_SEED": "3", "CHAOS_DEFAULT": ""}


def test_three_workers_under_fire_double_nothing_lose_nothing_and_end_every_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.run"],
        cwd=ROOT,
        env={**os.environ, **SHORT},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    print(done.stdout)

    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-3000:]
    assert re.search(r"chaos: kills=15 .* postgres restarts=1, runs=\d+, duplicates=0, losses=0, miscounts=0", done.stdout)
