"""A run says what it left out, and CI does not let it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFTEST = ROOT / "conftest.py"
SKIPS = """
import pytest

def test_it_runs():
    assert True

def test_part():
    pytest.skip("{part}: install it")

@pytest.mark.xfail(reason="known")
def test_expected():
    assert False
"""


def run_pytest(folder: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_sample.py").write_text(source)
    kept = {key: value for key, value in os.environ.items() if key not in {"CI", "PYTEST_ADDOPTS"}}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(folder)],
        cwd=folder,
        env={
            **kept,
            "DATABASE_URL": "postgresql:///none",
            "DJANGO_SETTINGS_MODULE": "syncline_host.settings",
            "SYNCLINE_TEST_ID": f"{os.getpid()}-inner",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_left_out_is_listed_with_the_way_to_get_it(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPS.format(part="broker"))

    assert run.returncode == 0, run.stdout
    assert "1 × broker: install it" in run.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in run.stdout.splitlines()[-1]


def test_in_ci_a_missing_part_is_a_failure(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPS.format(part="broker"), CI="true")

    assert run.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed" in run.stdout.splitlines()[-1]
    assert "Left out, which CI does not allow: broker: install it" in run.stdout


def test_in_ci_a_whole_file_cannot_leave_itself_out(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "import pytest\npytest.skip('broker: install it', allow_module_level=True)", CI="true")

    assert run.returncode != 0
    assert "which CI does not allow" in run.stdout


EXCUSED = """
import pytest
from types import SimpleNamespace

class TestVendor:
    target = SimpleNamespace(skip={"history": "The vendor keeps none."})

    @pytest.mark.parametrize("check", ["history", "merged"])
    def test_check(self, check):
        pytest.skip(f"{check}: the vendor keeps none")
"""


def test_in_ci_a_conformance_target_may_excuse_itself_from_a_check_by_name(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, EXCUSED, CI="true")

    assert "1 failed, 1 skipped" in run.stdout.splitlines()[-1]
    assert "Left out, which CI does not allow: merged: the vendor keeps none" in run.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ci_allows_what_a_checkout_cannot_bring_along(tmp_path: Path, workers: str) -> None:
    run = run_pytest(tmp_path, SKIPS.format(part="reference"), CI="true", PYTEST_ADDOPTS=f"-n {workers}")

    assert run.returncode == 0, run.stdout
    assert "1 × reference: install it" in run.stdout


def test_the_closing_lines_say_which_broker_the_tests_ran_against(tmp_path: Path) -> None:
    wants = "def test_it(kafka):\n    assert kafka.servers\n"
    given = run_pytest(tmp_path, wants, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    unused = run_pytest(tmp_path, SKIPS.format(part="broker"))

    assert "the one that KAFKA_BOOTSTRAP_SERVERS names" in given.stdout
    assert "no test wanted one" in unused.stdout


def test_a_run_that_demands_apache_kafka_fails_where_it_cannot_be_had(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "def test_it(kafka):\n    pass\n", SYNCLINE_BROKER="apache", PATH=str(tmp_path))

    assert run.returncode == 1
    assert "SYNCLINE_BROKER=apache wants Apache Kafka, but Java 17 is not there" in run.stdout
