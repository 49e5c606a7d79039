"""Sandboxes as processes of their own: who starts one hears where it listens, and none is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from syncline.contract.testing.sandbox import SandboxProcess

TOY = """
import argparse
from syncline.contract.testing import sandbox

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"toy"})

parser = argparse.ArgumentParser()
sandbox.add_options(parser)
parser.add_argument("--name", default="none")
given = parser.parse_args()
sandbox.serve(app, sandbox.listen(given.port), {"token": "t", "name": given.name}, with_parent=given.with_parent)
"""
STARTER = """
import time
from syncline.contract.testing.sandbox import SandboxProcess
print(SandboxProcess("toy_of_this_test").start().url, flush=True)
time.sleep(60)
"""


class Toy(SandboxProcess):
    """`let_go`: how often it was told that it is closed."""

    name, let_go = "", 0

    def opened(self, ready: Mapping[str, Any]) -> None:
        super().opened(ready)
        self.name = ready["name"]

    def closed(self) -> None:
        self.let_go += 1


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_of_this_test.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.read() == b"toy")
    except urllib.error.URLError:
        return False


def gone(url: str) -> bool:
    until = time.monotonic() + 10
    while answers(url):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_it_tells_what_it_printed_and_ends_with_the_block() -> None:
    with Toy("toy_of_this_test", "--name", "given") as running:
        assert (running.token, running.name) == ("t", "given")
        assert answers(running.url)
    assert not answers(running.url)
    assert running.let_go == 1


def test_it_ends_when_its_parent_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, env=os.environ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
    assert gone(url)


def test_a_port_that_is_taken_is_told_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = Toy("toy_of_this_test", "--port", str(taken.getsockname()[1]))
        with pytest.raises(RuntimeError, match="`python -m toy_of_this_test` ended with code 1 before it listened"):
            one.start()
    assert "Take --port 0 for a free one." in capfd.readouterr().err
    assert one.let_go == 1
