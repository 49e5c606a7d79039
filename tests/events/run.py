"""Customers change their minds while everything that carries it is killed; then the books are checked.

    python -m tests.events.run

EVENTS_MINUTES (5), EVENTS_RATE (60) messages a second, EVENTS_SEED (1). Ends with 0 when every acknowledged delivery is in the
topic, or said nothing new, and had its effect exactly once and in order, and licences are as whoever sent them expects.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.kafka.jars import jars

from . import estate as estates
from .books import judged, repeated
from .shots import Shots

if TYPE_CHECKING:
    from syncline_host.demo_events.scenario import Scene

    from .kept import Topic

CUSTOMERS = 40
SHARES = {"duplicates": 0.10, "malformed": 0.05, "reordered": 0.10, "bursts": 0.10}
PAUSE = (0.7, 2.5)
"""Seconds between two shots."""
EACH = 40.0
"""Seconds after which the broker and PostgreSQL are killed again; at least once."""
SETTLES_WITHIN = 300.0
SHOWN = 20


def main() -> int:
    minutes, seed = float(os.environ.get("EVENTS_MINUTES", "5")), int(os.environ.get("EVENTS_SEED", "1"))
    with tempfile.TemporaryDirectory(prefix="events-") as state, estates.opened(Path(state), jars()) as estate:
        os.environ.update(estate.environment())
        import django

        django.setup()
        scene = _scene(estate)
        estate.open()
        _begun(scene, estate)
        shots = Shots(estate, random.Random(seed), PAUSE)
        told = fire(shots, minutes * 60, seed)
        return judge(shots, scene, told)


def _scene(estate: estates.Estate) -> Scene:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from syncline_host.demo_events import scenario

    call_command("migrate", verbosity=0)
    return scenario.make(User.objects.create_superuser("events"), estate.broker.servers)


def _begun(scene: Scene, estate: estates.Estate) -> None:
    """Each partition is somebody's, and some shards are."""
    from syncline_host.demo_events.scenario import PARTITIONS

    from .kept import carried

    begun = "The stream processes did not begin in time."
    _until(lambda: carried(scene.stream) == PARTITIONS and carried(scene.relay) > 0, begun, estate)


def _until(true: Callable[[], bool], otherwise: str, estate: estates.Estate) -> None:
    until = time.monotonic() + estates.STARTS_WITHIN
    while not true():
        if time.monotonic() > until:
            tell_logs(estate)
            raise SystemExit(otherwise)
        time.sleep(0.2)


def fire(shots: Shots, seconds: float, seed: int) -> Mapping[str, Any]:
    """What the simulator says in the end, which it does when all its messages are acknowledged."""
    from .kept import posted

    with _simulator(shots.estate.url, seed) as simulator:
        _until(lambda: posted() > 0, "The simulator did not begin in time.", shots.estate)
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds and simulator.poll() is None:
            shots.step()
            _restart_in_turn(shots, passed, seconds)
            time.sleep(0.05)
        shots.rest()
        simulator.send_signal(signal.SIGTERM)
        said, trouble = simulator.communicate(timeout=120)
    if simulator.returncode:
        raise SystemExit(f"The simulator stopped: {trouble[-2000:]}")
    print(f"killed for {time.monotonic() - begun:.0f} s", flush=True)
    told: Mapping[str, Any] = json.loads(said.splitlines()[-1])
    return told


def _restart_in_turn(shots: Shots, passed: float, seconds: float) -> None:
    """The broker after a quarter of each stretch, PostgreSQL after three quarters of it."""
    stretch = min(EACH, seconds)
    for what, how, share in (
        ("broker", shots.estate.restart_broker, 0.25),
        ("postgres", shots.estate.restart_database, 0.75),
    ):
        if passed > (shots.restarts[what] + share) * stretch and shots.restart(what, how):
            return


def _simulator(url: str, seed: int) -> subprocess.Popen[str]:
    given = {
        "url": f"{url}/salesforce/webhook",
        "messages": 0,
        "customers": CUSTOMERS,
        "rate": float(os.environ.get("EVENTS_RATE", "60")),
        "concurrency": 8,
        "seed": seed,
        **SHARES,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "syncline.cli", "simulate", "salesforce", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def judge(shots: Shots, scene: Scene, told: Mapping[str, Any]) -> int:
    from syncline_licensing.expected import mismatches

    from .kept import Topic, kept, patiently

    topic = Topic(shots.estate.broker.servers)
    begun = time.monotonic()
    settled = _settled(scene, topic)
    calm = time.monotonic() - begun
    found = patiently(lambda: kept(scene, topic, told["acknowledged"]))
    topic.close()
    verdict, wrong = judged(found), patiently(lambda: mismatches(told["customers"]))
    troubles = [*shots.troubles, *([] if settled else ["not everything had arrived in time"])]
    troubles += [f"{who}: nobody knows whether its last message was acknowledged" for who in told["uncertain"]]
    said = [*troubles, *verdict.all, *wrong]
    for line in said[:SHOWN]:
        print(f"  ! {line}", flush=True)
    if said:
        tell_logs(shots.estate)
    states = list(found.outgoing.values())
    kills = " ".join(f"{name} {count}" for name, count in sorted(shots.kills.items()))
    print(
        f"events: kills={shots.kills.total()} ({kills}), crash points={shots.crashes.total()} at {len(+shots.crashes)} places, "
        f"broker kills={shots.restarts['broker']}, postgres restarts={shots.restarts['postgres']}, "
        f"posted={told['posted']}, acknowledged={told['acknowledged']}, posted again={told['again']}, "
        f"published={states.count('published')}, unchanged={states.count('unchanged')}, topic={len(found.topic)} "
        f"({repeated(found)} of them repeated), effects={len(found.effects)}, changes={len(found.history)}, "
        f"settled after={calm:.0f} s, troubles={len(troubles)}, losses={len(verdict.losses)}, doubles={len(verdict.doubles)}, "
        f"disorder={len(verdict.disorder)}, mismatches={len(wrong)}",
        flush=True,
    )
    return int(bool(said))


def _settled(scene: Scene, topic: Topic) -> bool:
    from .kept import left, patiently

    until, calm = time.monotonic() + SETTLES_WITHIN, 0
    while time.monotonic() < until and calm < 3:
        calm = calm + 1 if patiently(lambda: left(scene, topic)) == 0 else 0
        time.sleep(0.5)
    return calm >= 3


def tell_logs(estate: estates.Estate) -> None:
    for log in estate.logs():
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
