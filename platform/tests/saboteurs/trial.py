"""The example connector, honest or not, before all checks of the suite."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from syncline.contract import ConnectorSpec
from syncline.contract.testing.check import told
from syncline.contract.testing.lab import Lab, opened
from syncline.contract.testing.suite import CHECKS, breach_of, left_out
from syncline.contract.testing.target import Server, Target
from syncline_notes import sandbox

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "notes"


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """The example's entry point, as an installation into the folder `site` would leave it."""
    info = site / "syncline_notes-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: syncline-notes\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[syncline.connectors]\nnotes = syncline_notes.connector:Notes\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield


def honest_target() -> Target:
    """The target of the example's own test file."""
    spec = importlib.util.spec_from_file_location("notes_conformance", EXAMPLE / "tests" / "test_conformance.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target: Target = module.TARGET
    return replace(target, server=in_a_thread)


@contextmanager
def in_a_thread(connector: ConnectorSpec) -> Iterator[Server]:
    """The example's sandbox without a process of its own: every saboteur gets a new one."""
    server = sandbox.Sandbox(0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        headers = {"Authorization": f"Bearer {sandbox.TOKEN}"}
        yield Server(
            url=server.url,
            headers=headers,
            settings={"base_url": "{url}"},
            touch=server.store.touch,
            merge=server.store.merge,
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def failing_checks(connector: ConnectorSpec, target: Target) -> dict[str, str]:
    """Name of each check that fails → what it says."""
    with opened(connector, target) as lab:
        said = {name: outcome(name, lab) for name in CHECKS}
    return {name: text for name, text in said.items() if text}


def outcome(name: str, lab: Lab) -> str:
    if left_out(CHECKS[name], lab):
        return ""
    try:
        return breach_of(CHECKS[name], lab)
    except Exception as error:  # noqa: BLE001 - a check that ends in an error has failed
        return told(error)
