"""Run as a script, in a process of its own: imports a module and prints what it must not have done, or nothing."""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.abc import MetaPathFinder
from typing import Any

TRIPWIRE = "syncline_settings_must_not_be_read"
NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})  # urllib3 tries a bind

events: list[str] = []


def watch(event: str, _: tuple[Any, ...]) -> None:
    if event in NETWORK:
        events.append("touches the network")


class Tripwire(MetaPathFinder):
    """Django imports its settings module when a setting is read."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == TRIPWIRE:
            events.append("reads Django's settings")


def main(module: str, path: list[str]) -> None:
    sys.path[:] = path
    os.environ["DJANGO_SETTINGS_MODULE"] = TRIPWIRE
    sys.meta_path.insert(0, Tripwire())
    sys.addaudithook(watch)
    importlib.import_module(module)
    if "django.db.models" in sys.modules:
        events.append("loads Django's models")
    if events:
        sys.stdout.write(" and ".join(sorted(set(events))))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
