"""Other tools that read HubSpot, in an environment of their own (`make bench-peers`): how fast they print all companies.

Each prints a line of JSON for a record, as it would to whatever stores it. Its time is that of its process, from the start to
the record with which it is told to stop.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from syncline_hubspot.sandbox.process import RunningSandbox

HERE = Path(__file__).parent
HOME = Path(".venv-peers")
GET = "make bench-peers"


@dataclass(frozen=True)
class Peer:
    """`prepare`: writes its settings into a folder, given a token, and gives the command. `most`: records it is given."""

    name: str
    short: str
    program: str
    most: int
    prepare: Callable[[Peer, Path, RunningSandbox], Sequence[str]]

    @property
    def path(self) -> str:
        return str(HOME / "bin" / self.program)

    @property
    def there(self) -> bool:
        return Path(self.path).exists()


def _airbyte(peer: Peer, folder: Path, sandbox: RunningSandbox) -> Sequence[str]:
    """Reads everything, by list; it asks for all properties that the account defines, and for the contacts of each company."""
    credentials = {"credentials_title": "Private App Credentials", "access_token": sandbox.token}
    stream = {"name": "companies", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    read = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    config = _written(folder / "config.json", {"credentials": credentials})
    return [peer.path, "read", "--config", config, "--catalog", _written(folder / "catalog.json", {"streams": [read]})]


def _meltano(peer: Peer, folder: Path, sandbox: RunningSandbox) -> Sequence[str]:
    """Reads everything, by list, as it does the first time; it asks for all properties that the account defines."""
    config = _written(folder / "config.json", {"access_token": sandbox.token})
    command = [peer.path, "--config", config]
    found = subprocess.run([*command, "--discover"], env=_environment(sandbox), capture_output=True, check=True)
    catalog = json.loads(found.stdout)
    for stream in catalog["streams"]:
        for each in stream["metadata"]:
            if not each["breadcrumb"]:
                each["metadata"]["selected"] = stream["tap_stream_id"] == "companies"
    return [*command, "--catalog", _written(folder / "catalog.json", catalog)]


AIRBYTE = Peer("airbyte-source-hubspot", "airbyte", "source-hubspot", 10_000, _airbyte)
MELTANO = Peer("meltano-tap-hubspot", "meltano", "tap-hubspot", 100_000, _meltano)
ALL = (AIRBYTE, MELTANO)


def _written(path: Path, plain: Any) -> str:
    path.write_text(json.dumps(plain))
    return str(path)


def _environment(sandbox: RunningSandbox) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE / "redirect"), "HUBSPOT_SANDBOX": sandbox.url}


def measure(peer: Peer, sandbox: RunningSandbox, most: int) -> Mapping[str, Any]:
    """Of a run that prints `most` records."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        command = peer.prepare(peer, folder, sandbox)
        started = time.perf_counter()
        with (folder / "errors").open("w+") as errors, _started(command, _environment(sandbox), errors) as process:
            count = sum(1 for _ in _records(process, most))
            seconds = time.perf_counter() - started
            spent = _ended(process)
            errors.seek(0)
            if count < most:
                raise RuntimeError(f"{peer.name} printed {count} of {most} records. Its last words: {errors.read()[-2000:]}")
    return {
        "records": count,
        "seconds": round(seconds, 2),
        "records_per_s": round(count / seconds),
        "cpu_s_per_1000": round(1000 * spent / count, 4),
    }


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str], errors: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def _records(process: subprocess.Popen[bytes], most: int) -> Iterator[bytes]:
    assert process.stdout is not None
    count = 0
    for line in process.stdout:
        if line.startswith(b'{"type":"RECORD"'):
            yield line
            count += 1
            if count == most:
                return


def _ended(process: subprocess.Popen[bytes]) -> float:
    """Told to stop; gives the seconds of processor time that it took."""
    process.terminate()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime
