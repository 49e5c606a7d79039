"""Finding entry points, and loading what they name without letting any of it stop the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stevedore import ExtensionManager
from stevedore.extension import Extension

CONNECTORS = "syncline.connectors"


def installed(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda entry: (entry.name, distribution_of(entry)))


def distribution_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else ""


def version_of(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist else ""


class Discovery(ExtensionManager[Any]):
    """stevedore without its disk cache, which drops the distribution and can be two minutes stale."""

    def __init__(self, group: str, entries: Sequence[EntryPoint], failed: Callable[[EntryPoint, BaseException], None]) -> None:
        self._entries = list(entries)
        super().__init__(group, on_load_failure_callback=lambda _manager, entry, error: failed(entry, error))

    def list_entry_points(self) -> list[EntryPoint]:
        return self._entries

    def _load_one_plugin(self, ep: EntryPoint, *arguments: Any) -> Extension[Any] | None:
        try:
            return super()._load_one_plugin(ep, *arguments)
        except (AssertionError, SystemExit) as error:  # stevedore lets both of them stop the host
            raise ImportError(f"{type(error).__name__} while importing: {error}") from error
