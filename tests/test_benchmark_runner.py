"""The benchmark runner prints one line a benchmark, and its exit code tells of a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks import harness, run

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def samples(monkeypatch: pytest.MonkeyPatch) -> None:
    sample: list[harness.Benchmark] = []
    monkeypatch.setattr(run, "BENCHMARKS", sample)
    monkeypatch.setattr(harness, "BENCHMARKS", sample)
    monkeypatch.setattr(run, "set_up", lambda: None)
    monkeypatch.setattr(run, "find", lambda: None)

    @harness.bench("alone")
    def alone() -> dict[str, Any]:
        return {"calls": 3}

    @harness.bench("first", "second")
    def pair() -> Iterator[dict[str, Any]]:
        yield {"calls": 2}
        yield {"calls": 0}


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_prints_a_line_that_begins_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main() == 0
    printed = lines(capsys)

    assert [line["bench"] for line in printed] == ["alone", "first", "second"]
    assert {next(iter(line)) for line in printed} == {"bench"}


def test_only_the_named_ones_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ONLY", "second")

    assert run.main() == 0
    assert lines(capsys) == [{"bench": "second", "calls": 0}]


def test_an_unknown_name_is_refused_with_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONLY", "thrid")

    assert run.main() == 2
    assert "no benchmark thrid. Known: alone, first, second" in capsys.readouterr().err


def test_a_failure_shows_in_the_exit_code_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    @harness.bench("broken")
    def broken() -> dict[str, Any]:
        raise RuntimeError("no sandbox")

    assert run.main() == 1
    captured = capsys.readouterr()
    assert "no sandbox" in captured.err
    assert len(captured.out.splitlines()) == 3
