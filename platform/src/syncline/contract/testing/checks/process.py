"""What needs a process of its own: a clean import, and the sandbox."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from syncline.contract import Capability

from .. import import_probe
from ..check import check, expect
from ..lab import Lab
from ..target import started


@check("quiet-import")
def quiet_import(lab: Lab) -> None:
    """Importing the connector's module touches no network, reads no settings and loads no models."""
    problem = _import_problem(type(lab.connector).__module__)
    expect(not problem, f"Importing {type(lab.connector).__module__} {problem}.")


@functools.cache
def _import_problem(module: str) -> str:
    """Cached: a module's import is the same for all connectors in it."""
    probe = Path(import_probe.__file__)
    command = [sys.executable, str(probe), module, json.dumps([path for path in sys.path if path])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return f"failed in a process without settings: {done.stderr.strip().splitlines()[-1:]}"
    return done.stdout.strip()


@check("sandbox", Capability.SANDBOX)
def sandbox(lab: Lab) -> None:
    """The sandbox starts as a process, names its address on one line of JSON, and answers there."""
    declared = lab.call.sandbox()
    known = set(lab.info.settings_schema.get("properties", {}))
    unknown = sorted(set(declared.settings) - known)
    expect(not unknown, f"The sandbox's settings name what the connector does not have: {unknown}.")
    with started(declared) as ready:
        expect(_answers(ready["url"]), f"Nothing answers at {ready['url']}, the address the sandbox names.")


def _answers(url: str) -> bool:
    """Any HTTP answer counts, a refusal too; of another protocol, that somebody listens."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        with contextlib.suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10):
            return True
        return False
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - a loopback address, checked by `started`
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False
