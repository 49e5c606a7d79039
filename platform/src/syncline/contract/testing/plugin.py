"""pytest plugin of the conformance suite (entry point `pytest11`): the fixture behind every test of a conformance class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .lab import Lab


@pytest.fixture(scope="class")
def syncline_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The class's connector on a running server, with the fault proxy between them."""
    from .lab import opened  # not before it is needed: every pytest run in the environment loads this module

    with opened(request.cls.connector(), request.cls.target) as lab:
        yield lab
