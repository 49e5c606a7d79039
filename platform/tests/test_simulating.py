"""`syncline simulate KEY`: a sandbox's simulator becomes a command whose options are its arguments."""

from __future__ import annotations

from typing import Annotated

import click
import pytest
from click.testing import CliRunner
from syncline.cli import main
from syncline.simulating import options

pytestmark = pytest.mark.unit


def simulate(url: Annotated[str, "Where to"], most_of: float = 0.5, loud: bool = False, plain: int = 3) -> None:
    """Acts."""


def test_arguments_become_options_with_their_types_and_texts() -> None:
    found = {one.name: one for one in options(simulate)}
    assert [(one.opts, one.type.name, one.required) for one in found.values()] == [
        (["--url"], "text", True),
        (["--most-of"], "float", False),
        (["--loud"], "boolean", False),
        (["--plain"], "integer", False),
    ]
    url = found["url"]
    assert isinstance(url, click.Option)
    assert url.help == "Where to"


def test_an_argument_that_no_option_can_be_is_refused() -> None:
    def odd(names: list[str]) -> None:
        """Takes what no command line gives."""

    with pytest.raises(TypeError, match="names"):
        options(odd)


def test_its_own_help_is_shown_and_wrong_options_are_refused() -> None:
    shown = CliRunner().invoke(main, ["simulate", "salesforce", "--help"])
    assert shown.exit_code == 0
    assert "--malformed" in shown.output
    wrong = CliRunner().invoke(main, ["simulate", "salesforce", "--nothing"])
    assert wrong.exit_code == 2
    assert "--nothing" in wrong.output
    senseless = CliRunner().invoke(main, ["simulate", "salesforce", "--customers", "0"])
    assert (senseless.exit_code, "at least one customer" in senseless.output) == (1, True)


@pytest.mark.parametrize(("key", "said"), [("hubspot", "no simulator"), ("nobody", "nobody")])
def test_a_connector_without_one_is_told_so(key: str, said: str) -> None:
    told = CliRunner().invoke(main, ["simulate", key])
    assert told.exit_code == 1
    assert said in told.output
