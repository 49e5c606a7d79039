"""Starting the local server that a connector ships."""

from __future__ import annotations

import os
import sys

from syncline.registry import Registry


def command(registry: Registry, key: str, port: int) -> list[str]:
    """The argv of the connector's sandbox; it runs in this very Python when it names none."""
    sandbox = registry.connector(key).call.sandbox()
    program, *rest = sandbox.command
    return [sys.executable if program in {"python", "python3"} else program, *rest, "--port", str(port)]


def become(registry: Registry, key: str, port: int) -> None:
    """Replaces this process by the sandbox, so that signals reach it directly."""
    argv = command(registry, key, port)
    os.execvp(argv[0], argv)  # noqa: S606 - argv comes from an installed plugin
