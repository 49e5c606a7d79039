"""Apache Kafka's jars: fetched once by Maven as `pom.xml` names them, then kept in the state folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
ROOT = Path(__file__).parents[3]
FETCH = ("dependency:copy-dependencies", "-DincludeScope=runtime")


class NoJars(RuntimeError):
    """Why there are none, as the end of a sentence."""


def state() -> Path:
    return Path(os.environ.get("SYNCLINE_STATE", ROOT / ".syncline"))


def jars(kept: Path | None = None) -> Path:
    """The folder of the jars: KAFKA_JARS where set, else fetched on first use. Raises NoJars."""
    if given := os.environ.get("KAFKA_JARS"):
        return Path(given)
    for program, what in (("java", "Java 17"), ("mvn", "Maven")):
        if shutil.which(program) is None:
            raise NoJars(f"{what} is not there (`{program}` is not on the PATH)")
    home = (kept or state()) / "kafka"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    with (home / "jars.lock").open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        return folder if folder.is_dir() else _fetched(folder)


def _fetched(folder: Path) -> Path:
    """Whole or not at all: an interrupted fetch leaves no folder of that name."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as half:
        lib = Path(half) / "lib"
        command = ["mvn", "-B", "-q", "-f", str(POM), *FETCH, f"-DoutputDirectory={lib}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoJars(f"Maven could not fetch it: {(done.stdout + done.stderr).strip()[:500]}")
        lib.rename(folder)
    return folder
