"""The suite's own proof: each check catches its saboteurs, which no other check does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from syncline.contract.testing.suite import CHECKS

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "docs" / "examples" / "notes"
sys.path += [path for path in (str(EXAMPLE / "src"), str(HERE)) if path not in sys.path]

from saboteurs import (  # noqa: E402
    bulk,
    describing,
    failing,
    hearing,
    logging_on,
    moving,
    noisy_models,
    noisy_network,
    noisy_settings,
    pulling,
    relating,
)
from saboteurs.breaks import SABOTEURS  # noqa: E402
from saboteurs.trial import failing_checks, honest_target, installed  # noqa: E402

MODULES = (bulk, describing, failing, hearing, logging_on, moving, noisy_models, noisy_network, noisy_settings, pulling, relating)
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("site")):
        yield


@pytest.fixture(scope="module")
def caught(example: None) -> dict[str, dict[str, str]]:
    """For every saboteur, all checks that fail; several at a time, as most of it is waiting."""
    target = honest_target()
    with ThreadPoolExecutor(6) as pool:
        results = pool.map(lambda entry: failing_checks(entry[1](), target), SABOTEURS)
        return {saboteur.__name__: failed for (_, saboteur), failed in zip(SABOTEURS, results, strict=True)}


@pytest.mark.parametrize(("check", "saboteur"), SABOTEURS, ids=[saboteur.__name__ for _, saboteur in SABOTEURS])
def test_a_saboteur_is_caught_by_its_check_only(check: str, saboteur: type, caught: dict[str, dict[str, str]]) -> None:
    failed = caught[saboteur.__name__]
    assert list(failed) == [check], failed


def test_every_check_has_a_saboteur() -> None:
    assert {check for check, _ in SABOTEURS} == set(CHECKS)
